// step 0: argmax i64[x.0]
// out0[i0] = argmax(in0[i0,i1])
// strides: in0 any 1, out0 1 0
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_argmax_i64_bbc336e1_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_argmax_i64_bbc336e1(const loop_argmax_i64_bbc336e1_numbers n, __global const float *in0, __global long *out0)
{
    const int outer = n.e0;
    const int inner = n.e1;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int i0 = begin; i0 < end; i0++) {
        float argmax1_best = 0;
        long argmax1_at = -1;
        for (int t = 0; t < inner; t += 64) {
            const int lanes = inner - t < 64 ? (int)(inner - t) : 64;
            for (int l = 0; l < lanes; l++) {
                const int i1 = t + l;
                const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
                if (argmax1_at < 0 || (argmax1_best == argmax1_best && (load0 > argmax1_best || load0 != load0))) {
                    argmax1_best = load0;
                    argmax1_at = i1;
                }
            }
        }
        const long argmax1 = max(argmax1_at, 0l);
        out0[n.out0_at + i0] = argmax1;
    }
}

