// step 0: take f32[i.0,8]
// out0[i0,i1] = in1[load0,i1]
// strides: in0 1 0, in1 0 1, out0 any 1
typedef struct {
    int e0, e1, in0_at, in1_rows, in1_at, out0_at, step, call;
} loop_copy_f32_e0e52d3c_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_copy_f32_e0e52d3c(const loop_copy_f32_e0e52d3c_numbers n, __global const long *in0, __global const float *in1, __global float *out0, __global int *status)
{
    const int outer = n.e0 * n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int o = begin; o < end;) {
        const int i0 = o / n.e1, from = o % n.e1, to = min(n.e1, from + end - o);
        for (int i1 = from; i1 < to; i1++) {
            const long load0 = in0[n.in0_at + i0];
            const long row1 = load0 < 0 ? load0 + n.in1_rows : load0;
            const int ok1 = row1 >= 0 && row1 < n.in1_rows;
            if (!ok1)
                atomic_min(&status[n.call], (int)n.step + 1);
            const float load1 = ok1 ? in1[n.in1_at + i1 + (int)row1 * n.e1] : 0.0f;
            out0[n.out0_at + n.e1 * i0 + i1] = load1;
        }
        o += to - from;
    }
}

