// SPDX-License-Identifier: MIT
/* The variables of a model: named arrays, each behind a shared variable of the graph. */
#include <stdarg.h>
#include "core/nn/nn.h"

int cg__nn_fail(cg_status code, const char *fmt, ...)
{
    cg_error err = { 0 };
    va_list ap;
    va_start(ap, fmt);
    cg__fail_v(&err, code, fmt, ap);
    va_end(ap);
    return cg__set_last(&err);
}

int cg__nn_said(cg_graph *g, cg_status code, const char *fmt, ...)
{
    cg_error err = { 0 };
    va_list ap;
    va_start(ap, fmt);
    cg__fail_v(&err, code, fmt, ap);
    va_end(ap);
    cg_graph_fail(g, code, err.text);
    return code;
}

const char *cg__nn_type(char to[160], cg_dtype d, const int64_t *dims, int rank)
{
    int n = snprintf(to, 160, "%s[", cg_dtype_name(d));
    for (int i = 0; i < rank; i++)
        n += dims[i] == CG_ANY ? snprintf(to + n, 160 - (size_t)n, "%sn", i ? "," : "") : snprintf(to + n, 160 - (size_t)n, "%s%lld", i ? "," : "", (long long)dims[i]);
    snprintf(to + n, 160 - (size_t)n, "]");
    return to;
}

const char *cg__nn_type_of(char to[160], const cg_node *n)
{
    int64_t dims[CG_MAX_RANK];
    for (int i = 0; i < cg_node_rank(n); i++)
        dims[i] = cg_node_dim(n, i);
    return cg__nn_type(to, cg_node_dtype(n), dims, cg_node_rank(n));
}

int cg__net_why(const cg_net *n, const char *caller)
{
    const cg_error *e = cg_graph_error(n->g);
    return e ? cg__set_last(e) : cg_last_error()->code ? (int)cg_last_error()->code : cg__nn_fail(CG_ENOMEM, "%s: no memory", caller);
}

CG_API cg_net *cg_net_new(cg_graph *g, uint64_t seed)
{
    cg_net *n = g ? cg__zalloc(sizeof *n) : NULL;
    if (!n) {
        cg__nn_fail(g ? CG_ENOMEM : CG_EINVAL, "cg_net_new: %s", g ? "no memory" : "the graph is NULL");
        return NULL;
    }
    n->g = g;
    n->seed = seed;
    return n;
}

CG_API void cg_net_free(cg_net *n)
{
    for (int i = 0; n && i < n->vars.n; i++) {
        cg__free(n->vars.at[i].name);
        cg_array_free(n->vars.at[i].value);
    }
    if (n) {
        CG_VEC_FREE(&n->vars);
        CG_VEC_FREE(&n->updates);
        CG_VEC_FREE(&n->averages);
    }
    cg__free(n);
}

/* Takes value over. A value that could not be made gives NULL, and the graph an error. */
static cg_node *add(cg_net *n, const char *name, cg_array *value, bool trained)
{
    cg_net_var v = { .name = value ? cg__strdup(name) : NULL, .value = value, .trained = trained };
    v.node = v.name ? cg_shared(n->g, name, value) : NULL;
    if (v.node && CG_PUSH(&n->vars, v))
        return v.node;
    if (value)
        cg__nn_fail(CG_ENOMEM, "cg_net_param: no memory for %s", name);
    cg__free(v.name);
    cg_array_free(value);
    return NULL;
}

CG_API cg_array *cg_net_find(const cg_net *n, const char *name)
{
    for (int i = 0; i < n->vars.n; i++)
        if (strcmp(n->vars.at[i].name, name) == 0)
            return n->vars.at[i].value;
    return NULL;
}

static bool is_new(const cg_net *n, const char *name)
{
    if (!cg_net_find(n, name))
        return true;
    cg__nn_fail(CG_EINVAL, "cg_net_param: the net has a variable named %s already", name);
    return false;
}

CG_API cg_node *cg_net_param(cg_net *n, const char *name, const int64_t *shape, int rank, cg_init how)
{
    CG_BUILDER(n->g);
    uint64_t state = n->seed + (uint64_t)n->vars.n;
    return is_new(n, name) ? add(n, name, cg_array_init(shape, rank, how, cg__nn_bits(&state)), true) : NULL;
}

static cg_array *filled(cg_dtype d, const int64_t *shape, int rank, double value)
{
    cg_array *a = cg_array_new(d, shape, rank, NULL);
    const size_t width = cg_dtype_bytes(d), count = a ? (size_t)cg_array_count(a) : 0;
    char *data = value != 0 && count ? cg__zalloc(count * width) : NULL;
    if (!a || value == 0 || !count)
        return a;
    for (size_t i = 0; data && i < count; i++)
        cg__store_f64(data + i * width, d, value);
    if (!data || cg_array_set(a, data, count * width) < 0) {
        cg__nn_fail(CG_ENOMEM, "cg_net_state: no memory");
        cg_array_free(a);
        a = NULL;
    }
    cg__free(data);
    return a;
}

CG_API cg_node *cg_net_state(cg_net *n, const char *name, cg_dtype d, const int64_t *shape, int rank, double value)
{
    CG_BUILDER(n->g);
    return is_new(n, name) ? add(n, name, filled(d, shape, rank, value), false) : NULL;
}

static char *part_name(const char *layer, const char *name)
{
    cg_strb s = { 0 };
    cg__strb(&s, "%s.%s", layer, name);
    return cg__text_result(&s, "cg_net_param");
}

cg_node *cg__net_part(cg_net *n, const char *layer, const char *name, const int64_t *shape, int rank, cg_init how)
{
    char *full = part_name(layer, name);
    cg_node *v = full ? cg_net_param(n, full, shape, rank, how) : NULL;
    cg_text_free(full);
    return v;
}

cg_node *cg__net_part_state(cg_net *n, const char *layer, const char *name, const int64_t *shape, int rank, double value)
{
    char *full = part_name(layer, name);
    cg_node *v = full ? cg_net_state(n, full, CG_F32, shape, rank, value) : NULL;
    cg_text_free(full);
    return v;
}

cg_node *cg__net_add(cg_net *n, const char *name, cg_array *value, bool trained)
{
    if (is_new(n, name))
        return add(n, name, value, trained);
    cg_array_free(value);
    return NULL;
}

cg_node *cg__net_add_part(cg_net *n, const char *layer, const char *name, cg_array *value)
{
    char *full = value ? part_name(layer, name) : NULL;
    cg_node *v = full ? cg__net_add(n, full, value, true) : NULL;
    if (!full)
        cg_array_free(value);
    cg_text_free(full);
    return v;
}

CG_API int cg_net_count(const cg_net *n) { return n->vars.n; }
CG_API const char *cg_net_name(const cg_net *n, int i) { return i >= 0 && i < n->vars.n ? n->vars.at[i].name : NULL; }
CG_API cg_array *cg_net_array(const cg_net *n, int i) { return i >= 0 && i < n->vars.n ? n->vars.at[i].value : NULL; }

CG_API int64_t cg_net_size(const cg_net *n)
{
    int64_t size = 0;
    for (int i = 0; i < n->vars.n; i++)
        size += n->vars.at[i].trained ? cg_array_count(n->vars.at[i].value) : 0;
    return size;
}

CG_API const cg_update *cg_net_updates(const cg_net *n, int *count)
{
    *count = n->updates.n;
    return n->updates.at;
}
