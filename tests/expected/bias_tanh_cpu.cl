// step 0: tanh f32[x.0,64]
// out0[i0,i1] = tanh(in0[i0,i1] + in1[i1])
// strides: in0 any 1, in1 0 1, out0 any 1
typedef struct {
    int e0, e1, in0_at, in1_at, out0_at;
} loop_add_tanh_f32_100f55cf_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_add_tanh_f32_100f55cf(const loop_add_tanh_f32_100f55cf_numbers n, __global const float *in0, __global const float *in1, __global float *out0)
{
    const int outer = n.e0 * n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int o = begin; o < end;) {
        const int i0 = o / n.e1, from = o % n.e1, to = min(n.e1, from + end - o);
        for (int i1 = from; i1 < to; i1++) {
            const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
            const float load1 = in1[n.in1_at + i1];
            const float add2 = load0 + load1;
            const float tanh3 = cg_tanh_f32(add2);
            out0[n.out0_at + n.e1 * i0 + i1] = tanh3;
        }
        o += to - from;
    }
}

