// step 0: sum f32[10]
// out0[i0] = sum(in0[i0,i1] * in0[i0,i1])
// strides: in0 1 any, out0 1 0
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_square_sum_f32_2c635f1a_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_square_sum_f32_2c635f1a(const loop_square_sum_f32_2c635f1a_numbers n, __global const float *in0, __global float *out0)
{
    const int outer = n.e0;
    const int inner = n.e1;
    for (int i0 = (int)get_global_id(0); i0 < outer; i0 += (int)get_global_size(0)) {
        float sum2 = 0.0f;
        for (int t = 0; t < inner; t += 256) {
            const int stop = inner - t < 256 ? inner : t + 256;
            float sum2_part = 0.0f;
            for (int i1 = t; i1 < stop; i1++) {
                const float load0 = in0[n.in0_at + i0 + n.e0 * i1];
                const float square1 = load0 * load0;
                sum2_part += square1;
            }
            sum2 += sum2_part;
        }
        out0[n.out0_at + i0] = sum2;
    }
}

