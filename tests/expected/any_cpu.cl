// step 0: any bool[x.0]
// out0[i0] = sum(i64(in0[i0,i1] != 0.0f)) != 0l
// strides: in0 any 1, out0 1 0
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_not_equal_sum_bool_5ef4dea4_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_not_equal_sum_bool_5ef4dea4(const loop_not_equal_sum_bool_5ef4dea4_numbers n, __global const float *in0, __global uchar *out0)
{
    const int outer = n.e0;
    const int inner = n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int i0 = begin; i0 < end; i0++) {
        long sum4_lane[64];
        for (int l = 0; l < 64; l++)
            sum4_lane[l] = 0l;
        for (int t = 0; t < inner; t += 64) {
            const int lanes = inner - t < 64 ? (int)(inner - t) : 64;
            for (int l = 0; l < lanes; l++) {
                const int i1 = t + l;
                const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
                const int not_equal2 = load0 != 0.0f;
                const long cast3 = (long)not_equal2;
                sum4_lane[l] = (long)((ulong)sum4_lane[l] + (ulong)cast3);
            }
        }
        for (int h = 32; h; h /= 2)
            for (int l = 0; l < h; l++)
                sum4_lane[l] = (long)((ulong)sum4_lane[l] + (ulong)sum4_lane[l + h]);
        const long sum4 = sum4_lane[0];
        const int not_equal6 = sum4 != 0l;
        out0[n.out0_at + i0] = (uchar)not_equal6;
    }
}

