// SPDX-License-Identifier: MIT
/* Of a stacked state whose last row alone is read the loop need keep no other: hs[-1:] is the state after the loop, as one row. Only where it is known
 * that there is a step, since without one the stack has no row and the state is its init. What then reads the stack no more is not built.
 */
#include "core/graph/build.h"
#include "core/rewrite/loops.h"

/* The bound of axis 0, where the whole of all other axes is taken; steps are 1. */
static bool takes_rows(const cg_node *n, int64_t *start, int64_t *stop)
{
    bool plain = cg__is(n, CG_OP_slice) && cg__is(n->in[0], CG_OP_get) && cg__is(n->in[0]->in[0], CG_OP_scan);
    for (int i = 0; plain && i < n->type.rank; i++) {
        const int64_t from = i < n->attr[0].n ? n->attr[0].at[i] : CG_NONE, to = i < n->attr[1].n ? n->attr[1].at[i] : CG_NONE, by = i < n->attr[2].n ? n->attr[2].at[i] : 1;
        plain = (by == 1 || by == CG_NONE) && !CG_IS_REF(from) && !CG_IS_REF(to) && (i == 0 || (from == CG_NONE && to == CG_NONE));
        if (i == 0) {
            *start = from;
            *stop = to;
        }
    }
    return plain;
}

static bool is_last_row(const cg_node *n)
{
    int64_t start = 0, stop = 0;
    double count;
    if (!takes_rows(n, &start, &stop))
        return false;
    const cg_node *scan = n->in[0]->in[0];
    const cg_scan_view v = cg__scan_view(scan);
    const cg_scan_out_row *o = &v.out[n->in[0]->attr[0].at[0]];
    if (o->keep != CG_SCAN_ALL || o->back || o->root >= v.nstate || !cg__is_const(v.steps, &count) || count < 1)
        return false;
    return (start == -1 || (double)start == count - 1) && (stop == CG_NONE || (double)stop == count);
}

void cg__loops_last_rows(cg_loops *p)
{
    for (int i = 0; i < p->nodes.n && !p->failed && !p->off[CG_LOOP_LAST_ROW]; i++) {
        cg_node *n = p->nodes.at[i];
        if (!is_last_row(n))
            continue;
        const cg_node *scan = n->in[0]->in[0];
        const cg_scan_view v = cg__scan_view(scan);
        cg_loop_outs o = { 0 };
        for (int k = 0; k < v.nstate; k++)
            o.failed |= !CG_PUSH(&o.root, v.root[k]);
        cg__loop_out_last(&o, v.out[n->in[0]->attr[0].at[0]].root);
        cg_node *made = o.failed ? NULL : cg__loop_with(scan, &o);
        made = made ? cg_expand_dims(cg__get(made, 0), 0) : NULL;
        cg__map_note(&p->failed, &p->memo, n, made);
        cg__loops_tell(p, CG_LOOP_LAST_ROW, n, made);
        cg__loop_outs_free(&o);
    }
}
