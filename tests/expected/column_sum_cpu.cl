// step 0: sum f32[10]
// out0[i0] = sum(in0[i0,i1] * in0[i0,i1])
// strides: in0 1 any, out0 1 0
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_square_sum_f32_8bf13895_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_square_sum_f32_8bf13895(const loop_square_sum_f32_8bf13895_numbers n, __global const float *in0, __global float *out0)
{
    const int outer = n.e0;
    const int inner = n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int o = begin; o < end;) {
        const int row = o / n.e0, from = o % n.e0, to = min(n.e0, from + end - o);
        for (int first = from; first < to; first += 64) {
            const int width = to - first < 64 ? (int)(to - first) : 64;
            float sum2_tile[64], sum2_part[64];
            for (int c = 0; c < width; c++) {
                sum2_tile[c] = 0.0f;
            }
            for (int t = 0; t < inner; t += 256) {
                const int stop = inner - t < 256 ? inner : t + 256;
                for (int c = 0; c < width; c++) {
                    sum2_part[c] = 0.0f;
                }
                for (int i1 = t; i1 < stop; i1++) {
                    for (int c = 0; c < width; c++) {
                        const int i0 = first + c;
                        const float load0 = in0[n.in0_at + i0 + n.e0 * i1];
                        const float square1 = load0 * load0;
                        sum2_part[c] += square1;
                    }
                }
                for (int c = 0; c < width; c++) {
                    sum2_tile[c] += sum2_part[c];
                }
            }
            for (int c = 0; c < width; c++) {
                const int i0 = first + c;
                const float sum2 = sum2_tile[c];
                out0[n.out0_at + i0] = sum2;
            }
        }
        o += to - from;
    }
}

