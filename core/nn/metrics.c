// SPDX-License-Identifier: MIT
/* Metrics: how good scores are, counted over a batch. A matrix of counts adds up over batches, and all else follows from it. */
#include "core/nn/nn.h"

static cg_node *number(cg_node *like, double v) { return like ? cg_weak(cg_node_graph(like), v) : NULL; }
static cg_node *along(cg_node *x, int axis) { return cg_sum(x, CG_REDUCE(CG_OVER(axis))); }

CG_API cg_node *cg_accuracy(cg_node *x, cg_node *y)
{
    CG_BUILDER(cg_node_graph(x));
    return cg_top_k_accuracy(x, y, 1);
}

/* How many classes go before the sample's own, among which is whoever is not below it, so NaN is. */
CG_API cg_node *cg_top_k_accuracy(cg_node *x, cg_node *y, int64_t k)
{
    CG_BUILDER(cg_node_graph(x));
    cg_graph *g = cg_node_graph(x);
    if (!x || !y || !cg__nn_classes_fit("cg_top_k_accuracy", x, y))
        return NULL;
    if (k < 1)
        return cg_graph_fail(g, CG_EINVAL, "cg_top_k_accuracy: k is at least 1");
    cg_node *own = cg_expand_dims(cg__nn_pick(x, y), 1), *at = cg_expand_dims(cg_cast(y, CG_I64), 1), *j = cg__nn_numbers(x);
    cg_node *first = cg_less(j, at), *below = cg_less(x, own), *behind = cg_where(first, below, cg_less_equal(x, own));
    cg_node *other = cg_not_equal(j, at), *before = along(cg_logical_and(other, cg_logical_not(behind)), 1);
    return cg_mean(cg_cast(cg_less(before, cg_scalar(g, CG_I64, (double)k)), CG_F32), CG_REDUCE());
}

static bool is_class(const cg_node *n) { return cg_node_dtype(n) >= CG_I8 && cg_node_dtype(n) <= CG_U64; }

/* Classes as a list of so many i64, and where they are none of the n. */
static cg_node *listed(cg_node *y, cg_node *count, cg_node *n, cg_node **bad)
{
    y = cg_reshape_to(cg_cast(y, CG_I64), &count, 1);
    cg_node *negative = cg_less(y, number(y, 0));
    *bad = cg_logical_or(negative, cg_greater_equal(y, n));
    return y;
}

/* Pair (i, j) is counted at i n + j; n n, which is out of range, stands for a class that does not exist. */
CG_API cg_node *cg_confusion_matrix(cg_node *y, cg_node *predicted, int64_t n)
{
    CG_BUILDER(cg_node_graph(y));
    cg_graph *g = cg_node_graph(y);
    char a[160], b[160];
    if (!y || !predicted)
        return NULL;
    if (!is_class(y) || !is_class(predicted) || !cg__nn_same_shape(y, predicted, -1) || n < 0 || n > INT32_MAX)
        return cg__nn_null(cg__nn_said(g, CG_ESHAPE, "cg_confusion_matrix: needs classes and predicted classes below %lld, integers of one shape, got %s and %s", (long long)n,
                           cg__nn_type_of(a, y), cg__nn_type_of(b, predicted)));
    cg_node *classes = cg_scalar(g, CG_I64, (double)n), *cells = cg_mul(classes, classes), *bad_row, *bad_column;
    cg_node *count = cg_dim(cg_reshape(y, CG_SHAPE(CG_ANY)), 0), *row = listed(y, count, classes, &bad_row), *column = listed(predicted, count, classes, &bad_column);
    cg_node *cell = cg_mul(row, classes), *bad = cg_logical_or(bad_row, bad_column);
    cell = cg_where(bad, cells, cg_add(cell, column));
    cg_node *none = cg_full(cg_scalar(g, CG_I64, 0), CG_NODES(cells));
    return cg_reshape(cg_inc_rows(none, cell, cg_ones_like(cell), 0), CG_SHAPE(n, n));
}

/* Of a matrix of counts: sums of rows, of columns, and the diagonal, in f32. */
typedef struct counts { cg_node *rows, *columns, *right; } counts;
static counts counts_of(cg_node *matrix, const char *who)
{
    cg_graph *g = cg_node_graph(matrix);
    char text[160];
    counts c = { NULL, NULL, NULL };
    if (!matrix)
        return c;
    if (cg_node_rank(matrix) != 2) {
        cg__nn_said(g, CG_ESHAPE, "%s: needs a matrix (n, n) of counts, got %s", who, cg__nn_type_of(text, matrix));
        return c;
    }
    cg_node *m = cg_cast(matrix, CG_F32), *rows = cg_dim(m, 0), *columns = cg_dim(m, 1), *own = cg_eye(rows, columns, 0, CG_BOOL);
    c.rows = along(m, 1);
    c.columns = along(m, 0);
    c.right = along(cg_where(own, m, number(m, 0)), 1);
    return c;
}

static cg_node *part(cg_node *a, cg_node *of)
{
    cg_node *zero = number(a, 0), *nothing = cg_equal(of, zero);
    return cg_where(nothing, zero, cg_div(a, of));
}

CG_API cg_node *cg_precision(cg_node *matrix)
{
    CG_BUILDER(cg_node_graph(matrix));
    const counts c = counts_of(matrix, "cg_precision");
    return part(c.right, c.columns);
}

CG_API cg_node *cg_recall(cg_node *matrix)
{
    CG_BUILDER(cg_node_graph(matrix));
    const counts c = counts_of(matrix, "cg_recall");
    return part(c.right, c.rows);
}

CG_API cg_node *cg_f1_score(cg_node *matrix)
{
    CG_BUILDER(cg_node_graph(matrix));
    const counts c = counts_of(matrix, "cg_f1_score");
    cg_node *twice = cg_scale(c.right, 2);
    return part(twice, cg_add(c.rows, c.columns));
}
