// SPDX-License-Identifier: MIT
/* Layers of sequences: embedding, attention of several heads (Vaswani et al., Attention is all you need, 2017), and where in its sequence a step stands. */
#include <math.h>
#include "core/nn/nn.h"

/* ---- embedding */

static cg_node *embedding_forward(const cg_layer *l, cg_node *x) { return cg_embedding(l->w, x, l->padding_idx); }

/* The array of a new parameter, with zeros in row `padding`. */
static cg_array *table(cg_net *n, int64_t rows, int64_t size, int64_t padding, cg_init how)
{
    const int64_t shape[2] = { rows, size };
    uint64_t state = n->seed + (uint64_t)n->vars.n;
    cg_array *a = cg_array_init(shape, 2, how, cg__nn_bits(&state));
    const float *v = a && padding != CG_NONE ? cg_array_data(a) : NULL;
    float *copy = v ? cg__zalloc((size_t)(rows * size + 1) * sizeof *copy) : NULL;
    if (!a || padding == CG_NONE)
        return a;
    for (int64_t i = 0; copy && i < rows * size; i++)
        copy[i] = i / size == padding ? 0 : v[i];
    if (!copy || cg_array_set(a, copy, (size_t)(rows * size) * sizeof *copy) < 0) {
        cg__nn_fail(CG_ENOMEM, "cg_layer_embedding: no memory");
        cg_array_free(a);
        a = NULL;
    }
    cg__free(copy);
    return a;
}

CG_API int cg_layer_embedding(cg_layer *l, cg_net *n, const char *name, int64_t rows, int64_t size, int64_t padding_idx, cg_init how)
{
    CG_BUILDER(n->g);
    if (padding_idx != CG_NONE && (padding_idx < 0 || padding_idx >= rows))
        return cg__nn_fail(CG_EINVAL, "cg_layer_embedding: %lld is no row of the %lld that %s has", (long long)padding_idx, (long long)rows, name);
    *l = (cg_layer){ .forward = embedding_forward, .padding_idx = padding_idx };
    cg_array *value = table(n, rows, size, padding_idx, how);
    l->w = cg__net_add_part(n, name, "w", value);
    return l->w ? CG_OK : (int)cg_last_error()->code;
}

/* ---- attention */

static cg_node *number(cg_node *like, int64_t v) { return cg_scalar(cg_node_graph(like), CG_I64, (double)v); }

/* x W + b for the columns of queries, keys or values from the first to before the last, by heads: (columns, batch, heads, steps, size / heads). */
static cg_node *projected(const cg_layer *l, cg_node *x, int64_t first, int64_t last)
{
    const int64_t size = cg_node_dim(l->out_w, 0);
    cg_node *w = l->w, *b = l->b;
    if (!x)
        return NULL;
    if (last - first < 3) {
        cg_node *from = number(x, first * size), *to = number(x, last * size);
        w = cg_slice(w, 1, from, to, 1);
        b = cg_slice(b, 0, from, to, 1);
    }
    cg_node *all = cg_matmul(x, w), *batch = cg_dim(x, 0), *steps = cg_dim(x, 1), *parts = number(x, last - first), *heads = number(x, l->heads);
    cg_node *width = number(x, size / l->heads), *split = cg_reshape_to(all, CG_NODES(batch, steps, parts, heads, width));
    return cg_transpose(cg_add(split, cg_reshape_to(b, CG_NODES(parts, heads, width))), CG_AXES(2, 0, 3, 1, 4));
}

static cg_node *row(cg_node *a, int64_t i)
{
    cg_node *from = a ? number(a, i) : NULL, *to = a ? number(a, i + 1) : NULL;
    return a ? cg_squeeze(cg_slice(a, 0, from, to, 1), 0) : NULL;
}

static bool is_sequence(const cg_layer *l, cg_node *x)
{
    const int64_t size = cg_node_dim(l->out_w, 0);
    char text[200];
    if (cg_node_rank(x) == 3 && (cg_node_dim(x, 2) == size || cg_node_dim(x, 2) == CG_ANY))
        return true;
    snprintf(text, sizeof text, "cg_attend: needs sequences (batch, steps, %lld), got one of rank %d with %lld elements along its last axis", (long long)size, cg_node_rank(x),
             (long long)(cg_node_rank(x) ? cg_node_dim(x, cg_node_rank(x) - 1) : 1));
    cg_graph_fail(cg_node_graph(x), CG_ESHAPE, text);
    return false;
}

CG_API cg_node *cg_attend(const cg_layer *l, cg_node *query, cg_node *key, cg_node *value)
{
    CG_BUILDER(cg_node_graph(query));
    cg_node *q, *k, *v;
    if (!query || !key || !value || !is_sequence(l, query) || !is_sequence(l, key) || !is_sequence(l, value))
        return NULL;
    if (query == key && key == value) {
        cg_node *all = projected(l, query, 0, 3);
        q = row(all, 0);
        k = row(all, 1);
        v = row(all, 2);
    } else {
        q = row(projected(l, query, 0, 1), 0);
        k = row(projected(l, key, 1, 2), 0);
        v = row(projected(l, value, 2, 3), 0);
    }
    cg_node *heads = cg_transpose(cg_attention(q, k, v, &l->attention), CG_AXES(0, 2, 1, 3));      // (batch, steps, heads, size / heads)
    cg_node *batch = cg_dim(query, 0), *steps = cg_dim(query, 1), *joined = cg_reshape_to(heads, CG_NODES(batch, steps, number(query, cg_node_dim(l->out_w, 0))));
    return cg_add(cg_matmul(joined, l->out_w), l->out_b);
}

static cg_node *attention_forward(const cg_layer *l, cg_node *x) { return cg_attend(l, x, x, x); }

CG_API int cg_layer_attention(cg_layer *l, cg_net *n, const char *name, int64_t size, int64_t heads, cg_init how, const cg_attention_spec *o)
{
    CG_BUILDER(n->g);
    if (o && o->struct_size != sizeof *o)
        return cg__nn_fail(CG_EINVAL, "cg_layer_attention: the options are not made by CG_ATTENTION of this version");
    if (size < 1 || heads < 1 || size % heads)
        return cg__nn_fail(CG_EINVAL, "cg_layer_attention: %lld heads do not divide a size of %lld", (long long)heads, (long long)size);
    *l = (cg_layer){ .forward = attention_forward, .heads = heads, .attention = o ? *o : (cg_attention_spec){ .struct_size = sizeof *o } };
    const int64_t in[2] = { size, 3 * size }, out[2] = { size, size };
    l->w = cg__net_part(n, name, "w", in, 2, how);
    l->b = l->w ? cg__net_part(n, name, "b", in + 1, 1, CG_INIT_ZEROS) : NULL;
    l->out_w = l->b ? cg__net_part(n, name, "out_w", out, 2, how) : NULL;
    l->out_b = l->out_w ? cg__net_part(n, name, "out_b", out, 1, CG_INIT_ZEROS) : NULL;
    return l->out_b ? CG_OK : (int)cg_last_error()->code;
}

/* ---- positions */

/* Column i has the angle t 10000^(-j / size), where j is i without its lowest bit. */
CG_API cg_node *cg_sinusoidal_positions(cg_node *steps, int64_t size)
{
    CG_BUILDER(cg_node_graph(steps));
    if (!steps)
        return NULL;
    if (size < 1)
        return cg_graph_fail(cg_node_graph(steps), CG_EINVAL, "cg_sinusoidal_positions: a size below 1");
    cg_node *zero = number(steps, 0), *one = number(steps, 1), *two = number(steps, 2), *t = cg_arange(zero, steps, one), *i = cg_arange(zero, number(steps, size), one);
    cg_node *odd = cg_mod(i, two), *slower = cg_exp(cg_scale(cg_cast(cg_sub(i, odd), CG_F32), -log(10000) / (double)size));
    cg_node *angle = cg_mul(cg_expand_dims(cg_cast(t, CG_F32), 1), slower), *wave = cg_sin(angle);
    return cg_where(cg_equal(odd, zero), wave, cg_cos(angle));
}
