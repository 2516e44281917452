// step 0: softmax f32[x.0,x.1]
// out0[i0,i1] = exp(in0[i0,i1] - max(in0[i0,i1])) / sum(exp(in0[i0,i1] - max(in0[i0,i1])))
// strides: in0 any 1, out0 any 1
typedef struct {
    int e0, e1, in0_at, out0_at;
} loop_max_sub_exp_sum_div_f32_3ad9094c_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_max_sub_exp_sum_div_f32_3ad9094c(const loop_max_sub_exp_sum_div_f32_3ad9094c_numbers n, __global const float *in0, __global float *out0)
{
    __local float max1_lanes[64];
    __local float sum4_lanes[64];
    const int outer = n.e0;
    const int inner = n.e1;
    const int lane = (int)get_local_id(0);
    for (int i0 = (int)get_group_id(0); i0 < outer; i0 += (int)get_num_groups(0)) {
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
        for (int i1 = lane; i1 < inner; i1 += 64) {
            const float load0 = in0[n.in0_at + n.e1 * i0 + i1];
            const float sub2 = load0 - max1;
            const float exp3 = cg_exp_f32(sub2);
            const float div5 = exp3 / sum4;
            out0[n.out0_at + n.e1 * i0 + i1] = div5;
        }
    }
}

