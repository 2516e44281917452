// step 0: cast i8[x.0]
// out0[i0] = i8(in0[i0])
// strides: in0 1, out0 1
typedef struct {
    int e0, in0_at, out0_at;
} loop_copy_i8_394f350d_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_copy_i8_394f350d(const loop_copy_i8_394f350d_numbers n, __global const float *in0, __global char *out0)
{
    const int outer = n.e0;
    for (int i0 = (int)get_global_id(0); i0 < outer; i0 += (int)get_global_size(0)) {
        const float load0 = in0[n.in0_at + i0];
        const int cast1 = convert_char_sat(cg_of_f32_i32(load0));
        out0[n.out0_at + i0] = (char)cast1;
    }
}

