// step 0: any bool[x.0]
// out0[i0] = sum(i64(in0[i0,i1] != 0.0f)) != 0l
// strides: in0 any 1, out0 1 0
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_not_equal_sum_bool_b9385c3f_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_not_equal_sum_bool_b9385c3f(const loop_not_equal_sum_bool_b9385c3f_numbers n, __global const float *in0, __global uchar *out0)
{
    __local long sum4_lanes[64];
    const int outer = n.e0;
    const int inner = n.e1;
    const int lane = (int)get_local_id(0);
    for (int i0 = (int)get_group_id(0); i0 < outer; i0 += (int)get_num_groups(0)) {
        long sum4_lane = 0l;
        for (int i1 = lane; i1 < inner; i1 += 64) {
            const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
            const int not_equal2 = load0 != 0.0f;
            const long cast3 = (long)not_equal2;
            sum4_lane = (long)((ulong)sum4_lane + (ulong)cast3);
        }
        sum4_lanes[lane] = sum4_lane;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int h = 32; h; h /= 2) {
            if (lane < h)
                sum4_lanes[lane] = (long)((ulong)sum4_lanes[lane] + (ulong)sum4_lanes[lane + h]);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        const long sum4 = sum4_lanes[0];
        barrier(CLK_LOCAL_MEM_FENCE);
        const int not_equal6 = sum4 != 0l;
        if (lane == 0)
            out0[n.out0_at + i0] = (uchar)not_equal6;
    }
}

