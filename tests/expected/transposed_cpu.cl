// step 0: add f32[7,x.0]
// out0[i0,i1] = in0[i0,i1] + in1[i0,i1]
// strides: in0 1 any, in1 any 1, out0 any 1
typedef struct {
    int e0, e1, in0_at, in1_at, out0_at;
} loop_add_f32_04664a73_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_add_f32_04664a73(const loop_add_f32_04664a73_numbers n, __global const float *in0, __global const float *in1, __global float *out0)
{
    const int outer = n.e0 * n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int o = begin; o < end;) {
        const int i0 = o / n.e1, from = o % n.e1, to = min(n.e1, from + end - o);
        for (int i1 = from; i1 < to; i1++) {
            const float load0 = in0[n.in0_at + i0 + n.e0 * i1];
            const float load1 = in1[n.in1_at + n.e1 * i0 + i1];
            const float add2 = load0 + load1;
            out0[n.out0_at + n.e1 * i0 + i1] = add2;
        }
        o += to - from;
    }
}

