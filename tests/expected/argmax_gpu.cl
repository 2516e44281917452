// step 0: argmax i64[x.0]
// out0[i0] = argmax(in0[i0,i1])
// strides: in0 any 1, out0 1 0
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_argmax_i64_e8f64d0b_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_argmax_i64_e8f64d0b(const loop_argmax_i64_e8f64d0b_numbers n, __global const float *in0, __global long *out0)
{
    __local long argmax1_ats[64];
    __local float argmax1_bests[64];
    const int outer = n.e0;
    const int inner = n.e1;
    const int lane = (int)get_local_id(0);
    for (int i0 = (int)get_group_id(0); i0 < outer; i0 += (int)get_num_groups(0)) {
        float argmax1_best = 0;
        long argmax1_at = -1;
        for (int i1 = lane; i1 < inner; i1 += 64) {
            const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
            if (argmax1_at < 0 || (argmax1_best == argmax1_best && (load0 > argmax1_best || load0 != load0))) {
                argmax1_best = load0;
                argmax1_at = i1;
            }
        }
        argmax1_ats[lane] = argmax1_at;
        argmax1_bests[lane] = argmax1_best;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int h = 32; h; h /= 2) {
            if (lane < h) {
                const long other = argmax1_ats[lane + h], mine = argmax1_ats[lane];
                const float x = argmax1_bests[lane + h], best = argmax1_bests[lane];
                const int first = other < mine, wins = best == best ? x != x || x > best || (x == best && first) : x != x && first;
                if (other >= 0 && (mine < 0 || wins)) {
                    argmax1_ats[lane] = other;
                    argmax1_bests[lane] = x;
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        const long argmax1 = max(argmax1_ats[0], 0l);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane == 0)
            out0[n.out0_at + i0] = argmax1;
    }
}

