// step 0: cross_entropy f32[x.0]
// out0[i0] = log(sum(exp(in0[i0,i1] - max(in0[i0,i1])))) - (in2[where9,i0] - max(in0[i0,i1]))
// strides: in0 any 1, in1 1 0, in2 any 0, out0 1 0
typedef struct {
    int e0, e1, in1_at, in2_at, in2_row, in0_at, out0_at, step, call;
} loop_max_sub_exp_sum_less_f32_d48769a8_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_max_sub_exp_sum_less_f32_d48769a8(const loop_max_sub_exp_sum_less_f32_d48769a8_numbers n, __global const float *in0, __global const long *in1, __global const float *in2, __global float *out0, __global int *status)
{
    __local float max1_lanes[64];
    __local float sum4_lanes[64];
    const int outer = n.e0;
    const int inner = n.e1;
    const int lane = (int)get_local_id(0);
    for (int i0 = (int)get_group_id(0); i0 < outer; i0 += (int)get_num_groups(0)) {
        const long load5 = in1[n.in1_at + i0];
        const int less7 = load5 < 0l;
        const long where9 = less7 ? (long)n.e1 : load5;
        const long row10 = where9 < 0 ? where9 + n.e1 : where9;
        const int ok10 = row10 >= 0 && row10 < n.e1;
        if (!ok10)
            atomic_min(&status[n.call], (int)n.step + 10);
        const float load10 = ok10 ? in2[n.in2_at + n.e1 * i0 + (int)row10 * n.in2_row] : 0.0f;
        float max1_lane = -INFINITY;
        for (int i1 = lane; i1 < inner; i1 += 64) {
            const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
            max1_lane = max1_lane > load0 || max1_lane != max1_lane ? max1_lane : load0;
        }
        max1_lanes[lane] = max1_lane;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int h = 32; h; h /= 2) {
            if (lane < h)
                max1_lanes[lane] = max1_lanes[lane] > max1_lanes[lane + h] || max1_lanes[lane] != max1_lanes[lane] ? max1_lanes[lane] : max1_lanes[lane + h];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        const float max1 = max1_lanes[0];
        barrier(CLK_LOCAL_MEM_FENCE);
        const float sub11 = load10 - max1;
        float sum4_lane = 0.0f;
        for (int i1 = lane; i1 < inner; i1 += 64) {
            const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
            const float sub2 = load0 - max1;
            const float exp3 = cg_exp_f32(sub2);
            sum4_lane += exp3;
        }
        sum4_lanes[lane] = sum4_lane;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int h = 32; h; h /= 2) {
            if (lane < h)
                sum4_lanes[lane] += sum4_lanes[lane + h];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        const float sum4 = sum4_lanes[0];
        barrier(CLK_LOCAL_MEM_FENCE);
        const float log12 = cg_log_f32(sum4);
        const float sub13 = log12 - sub11;
        if (lane == 0)
            out0[n.out0_at + i0] = sub13;
    }
}

