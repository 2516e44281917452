// step 0: floor_divide i32[x.0]
// out0[i0] = floor_divide(in0[i0], in1[i0])
// strides: in0 1, in1 1, out0 1
typedef struct {
    int e0, in0_at, in1_at, out0_at, step, call;
} loop_floor_divide_i32_7682d0fd_numbers;
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void loop_floor_divide_i32_7682d0fd(const loop_floor_divide_i32_7682d0fd_numbers n, __global const int *in0, __global const int *in1, __global int *out0, __global int *status)
{
    const int outer = n.e0;
    for (int i0 = (int)get_global_id(0); i0 < outer; i0 += (int)get_global_size(0)) {
        const int load0 = in0[n.in0_at + i0];
        const int load1 = in1[n.in1_at + i0];
        if (load1 == 0)
            atomic_min(&status[n.call], (int)n.step + 2);
        const int floor_divide2 = cg_floor_divide_i32(load0, load1);
        out0[n.out0_at + i0] = floor_divide2;
    }
}

