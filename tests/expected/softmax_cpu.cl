// step 0: softmax f32[x.0,x.1]
// out0[i0,i1] = exp(in0[i0,i1] - max(in0[i0,i1])) / sum(exp(in0[i0,i1] - max(in0[i0,i1])))
// strides: in0 any 1, out0 any 1
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_max_sub_exp_sum_div_f32_65187f97_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_max_sub_exp_sum_div_f32_65187f97(const loop_max_sub_exp_sum_div_f32_65187f97_numbers n, __global const float *in0, __global float *out0)
{
    const int outer = n.e0;
    const int inner = n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int i0 = begin; i0 < end; i0++) {
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
        for (int i1 = 0; i1 < inner; i1++) {
            const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
            const float sub2 = load0 - max1;
            const float exp3 = cg_exp_f32(sub2);
            const float div5 = exp3 / sum4;
            out0[n.out0_at + n.e1 * i0 + i1] = div5;
        }
    }
}

