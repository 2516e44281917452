// step 0: mul f16[x.0]
// out0[i0] = (in0[i0] * 2.0f) * in0[i0]
// strides: in0 1, out0 1
typedef struct {
    int e0, in0_at, out0_at;
} loop_mul_f16_f36cfbeb_numbers;
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void loop_mul_f16_f36cfbeb(const loop_mul_f16_f36cfbeb_numbers n, __global const ushort *in0, __global ushort *out0)
{
    const int outer = n.e0;
    const int items = (int)get_global_size(0), chunk = (outer + items - 1) / items;
    const int begin = (int)get_global_id(0) * chunk, end = min(begin + chunk, outer);
    for (int i0 = begin; i0 < end; i0++) {
        const float load0 = cg_load_f16(in0[n.in0_at + i0]);
        const float mul2 = cg_round_f16(load0 * 2.0f);
        const float mul3 = cg_round_f16(mul2 * load0);
        out0[n.out0_at + i0] = (ushort)cg_store_f16(mul3);
    }
}

