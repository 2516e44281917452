// step 0: cross_entropy f32[x.0]
// out0[i0] = log(sum(exp(in0[i0,i1] - max(in0[i0,i1])))) - (in2[where9,i0] - max(in0[i0,i1]))
// strides: in0 any 1, in1 1 0, in2 any 0, out0 1 0
typedef struct {
    int e0, e1, in1_at, in2_at, in2_row, in0_at, out0_at, step, call;
} loop_max_sub_exp_sum_less_f32_ed08edbf_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_max_sub_exp_sum_less_f32_ed08edbf(const loop_max_sub_exp_sum_less_f32_ed08edbf_numbers n, __global const float *in0, __global const long *in1, __global const float *in2, __global float *out0, __global int *status)
{
    const int outer = n.e0;
    const int inner = n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int i0 = begin; i0 < end; i0++) {
        const long load5 = in1[n.in1_at + i0];
        const int less7 = load5 < 0l;
        const long where9 = less7 ? (long)n.e1 : load5;
        const long row10 = where9 < 0 ? where9 + n.e1 : where9;
        const int ok10 = row10 >= 0 && row10 < n.e1;
        if (!ok10)
            atomic_min(&status[n.call], (int)n.step + 10);
        const float load10 = ok10 ? in2[n.in2_at + n.e1 * i0 + (int)row10 * n.in2_row] : 0.0f;
        float max1_lane[64];
        for (int l = 0; l < 64; l++)
            max1_lane[l] = -INFINITY;
        for (int t = 0; t < inner; t += 64) {
            const int lanes = inner - t < 64 ? (int)(inner - t) : 64;
            for (int l = 0; l < lanes; l++) {
                const int i1 = t + l;
                const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
                max1_lane[l] = max1_lane[l] > load0 || max1_lane[l] != max1_lane[l] ? max1_lane[l] : load0;
            }
        }
        for (int h = 32; h; h /= 2)
            for (int l = 0; l < h; l++)
                max1_lane[l] = max1_lane[l] > max1_lane[l + h] || max1_lane[l] != max1_lane[l] ? max1_lane[l] : max1_lane[l + h];
        const float max1 = max1_lane[0];
        const float sub11 = load10 - max1;
        float sum4_lane[64];
        for (int l = 0; l < 64; l++)
            sum4_lane[l] = 0.0f;
        for (int t = 0; t < inner; t += 64) {
            const int lanes = inner - t < 64 ? (int)(inner - t) : 64;
            for (int l = 0; l < lanes; l++) {
                const int i1 = t + l;
                const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
                const float sub2 = load0 - max1;
                const float exp3 = cg_exp_f32(sub2);
                sum4_lane[l] += exp3;
            }
        }
        for (int h = 32; h; h /= 2)
            for (int l = 0; l < h; l++)
                sum4_lane[l] += sum4_lane[l + h];
        const float sum4 = sum4_lane[0];
        const float log12 = cg_log_f32(sum4);
        const float sub13 = log12 - sub11;
        out0[n.out0_at + i0] = sub13;
    }
}

