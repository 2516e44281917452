// step 0: add i8[x.0]
// out0[i0] = in0[i0] + in1[i0]
// strides: in0 1, in1 1, out0 1
typedef struct {
    int e0, in0_at, in1_at, out0_at;
} loop_add_i8_fd70399a_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_add_i8_fd70399a(const loop_add_i8_fd70399a_numbers n, __global const char *in0, __global const char *in1, __global char *out0)
{
    const int outer = n.e0;
    for (int i0 = (int)get_global_id(0); i0 < outer; i0 += (int)get_global_size(0)) {
        const int load0 = in0[n.in0_at + i0];
        const int load1 = in1[n.in1_at + i0];
        const int add2 = (char)((uint)load0 + (uint)load1);
        out0[n.out0_at + i0] = (char)add2;
    }
}

