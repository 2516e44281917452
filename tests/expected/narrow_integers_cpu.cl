// step 0: add i8[x.0]
// out0[i0] = in0[i0] + in1[i0]
// strides: in0 1, in1 1, out0 1
typedef struct {
    int e0, in0_at, in1_at, out0_at;
} loop_add_i8_fde17b87_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_add_i8_fde17b87(const loop_add_i8_fde17b87_numbers n, __global const char *in0, __global const char *in1, __global char *out0)
{
    const int outer = n.e0;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int i0 = begin; i0 < end; i0++) {
        const int load0 = in0[n.in0_at + i0];
        const int load1 = in1[n.in1_at + i0];
        const int add2 = (char)((uint)load0 + (uint)load1);
        out0[n.out0_at + i0] = (char)add2;
    }
}

