// step 0: where f32[x.0]
// out0[i0] = (in0[i0] < in1[i0]) ? in0[i0] : 2.0f
// strides: in0 1, in1 1, out0 1
typedef struct {
    int e0, in0_at, in1_at, out0_at;
} loop_less_where_f32_d72ecdfb_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_less_where_f32_d72ecdfb(const loop_less_where_f32_d72ecdfb_numbers n, __global const float *in0, __global const float *in1, __global float *out0)
{
    const int outer = n.e0;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int i0 = begin; i0 < end; i0++) {
        const float load0 = in0[n.in0_at + i0];
        const float load1 = in1[n.in1_at + i0];
        const int less2 = load0 < load1;
        const float where4 = less2 ? load0 : 2.0f;
        out0[n.out0_at + i0] = where4;
    }
}

