// SPDX-License-Identifier: MIT
/* deep [--part N] [NAME...]: what large graphs cost, phase by phase: processor time in milliseconds and the process's largest memory. On a stack of
 * 256 KiB, whatever the shell's limit is. Each graph is made at a tenth of its size first, then whole; --part divides all sizes.
 * Fails where a graph takes, each time it is tried, more than its seconds, more than 4 GiB, or more than 12 times its tenth (15 where the tenth fits into caches;
 * with --part, for machines that do other things meanwhile, 30: work that grows with the square takes 100).
 *     chain      one operation after another (tanh, times x, sin), and its gradient
 *     diamond    tanh h + sin h, again and again: 2^depth paths, and the gradient
 *     wide       so many parameters and their updates
 *     mixed      the steps of a recurrent net with products, layer norms, slices, reshapes and losses, and what an optimiser makes of it
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "core/graph/ir.h"
#include "tests/asked.h"

enum { STACK = 256 << 10, MOST_MIB = 4096, SMALL_NODES = 2000, BATCH = 4, ATTEMPTS = 3 };      /* fewer nodes: a tenth is all fixed costs */

typedef enum { BUILD, DIFFERENTIATE, COMPILE, CALL, PRINT, FREE, PHASES } phase;
static const char *const phase_names[PHASES] = { "build", "grad", "compile", "call", "print", "free" };

typedef struct model {
    cg_graph *g;
    CG_VEC(cg_node *) inputs;
    CG_VEC(cg_array *) values, vars;     /* of the inputs; of the shared variables */
    CG_VEC(cg_node *) wrt;
    CG_VEC(cg_node *) grads;
    CG_VEC(cg_update) updates;           /* of shared variables; else the gradients are outputs */
    cg_node *cost;
} model;

typedef struct cost { double ms[PHASES], all; long mib[PHASES], most, nodes; } cost;

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "deep: %s\n", cg_last_error()->code ? cg_last_error()->text : "no memory");
        exit(1);
    }
    return p;
}

static void succeed(bool ok) { (void)must(ok ? &errno : NULL); }

/* ---- models */

/* An input, with zeros for a call, in which its free sizes are BATCH. */
static cg_node *input(model *m, const char *name, cg_dtype d, const int64_t *shape, int rank)
{
    int64_t sizes[CG_MAX_RANK];
    for (int i = 0; i < rank; i++)
        sizes[i] = shape[i] == CG_ANY ? BATCH : shape[i];
    cg_node *n = must(cg_input(m->g, name, d, shape, rank));
    succeed(CG_PUSH(&m->inputs, n) && CG_PUSH(&m->values, must(cg_array_new(d, sizes, rank, NULL))));
    return n;
}

static cg_node *param(model *m, const char *name, const int64_t *shape, int rank)
{
    cg_array *a = must(cg_array_init(shape, rank, CG_INIT_GLOROT_UNIFORM, (uint64_t)m->vars.n));
    cg_node *n = must(cg_shared(m->g, name, a));
    succeed(CG_PUSH(&m->vars, a) && CG_PUSH(&m->wrt, n));
    return n;
}

static cg_node *chain_input(model *m)
{
    cg_node *x = input(m, "x", CG_F32, CG_SHAPE(CG_ANY));
    succeed(CG_PUSH(&m->wrt, x));
    return x;
}

static void chain(model *m, int n)
{
    cg_node *x = chain_input(m), *y = x;
    for (int i = 0; i < n; i++)
        y = i % 3 == 0 ? cg_tanh(y) : i % 3 == 1 ? cg_mul(y, x) : cg_sin(y);
    m->cost = cg_sum(y, CG_REDUCE());
}

static void diamond(model *m, int depth)
{
    cg_node *y = chain_input(m);
    for (int i = 0; i < depth; i++)
        y = cg_add(cg_tanh(y), cg_sin(y));
    m->cost = cg_sum(y, CG_REDUCE());
}

static cg_node *layer_norm(cg_node *h, cg_node *gain)
{
    cg_node *d = cg_sub(h, cg_mean(h, CG_REDUCE(CG_OVER(1), .keepdims = 1)));
    cg_node *var = cg_mean(cg_mul(d, d), CG_REDUCE(CG_OVER(1), .keepdims = 1));
    return cg_mul(cg_div(d, cg_sqrt(cg_add(var, cg_scalar(cg_node_graph(h), CG_F32, 1e-5)))), gain);
}

/* v = 0.9 v + g; p = p - 0.01 v for each parameter. */
static void momentum(model *m)
{
    for (int i = 0; i < m->wrt.n; i++) {
        cg_node *p = m->wrt.at[i];
        cg_array *a = must(cg_array_new(CG_F32, cg_array_shape(p->array), cg_array_rank(p->array), NULL));
        cg_node *v = cg_shared(m->g, "v", a), *v1 = cg_add(cg_scale(v, 0.9), m->grads.at[i]);
        succeed(CG_PUSH(&m->vars, a) && CG_PUSH(&m->updates, (cg_update){ v, v1 }) && CG_PUSH(&m->updates, (cg_update){ p, cg_sub(p, cg_scale(v1, 0.01)) }));
    }
}

enum { STEP_NODES = 80, IN = 3, WIDTH = 8, CLASSES = 5 };    /* of a step of the net with its gradient and updates, about */

static void mixed(model *m, int nodes)
{
    const int steps = nodes / STEP_NODES;
    cg_node *x = input(m, "x", CG_F32, CG_SHAPE(CG_ANY, steps * IN));
    cg_node *y = input(m, "y", CG_I64, CG_SHAPE(steps, CG_ANY));
    cg_node *h = input(m, "h", CG_F32, CG_SHAPE(CG_ANY, WIDTH));
    cg_node *u = param(m, "U", CG_SHAPE(IN, WIDTH)), *w = param(m, "W", CG_SHAPE(WIDTH, WIDTH));
    cg_node *out = param(m, "V", CG_SHAPE(WIDTH, CLASSES));
    for (int64_t i = 0; i < steps; i++) {
        cg_node *gain = param(m, "gain", CG_SHAPE(WIDTH)), *bias = param(m, "bias", CG_SHAPE(WIDTH));
        cg_node *at = cg_scalar(m->g, CG_I64, (double)i), *next = cg_scalar(m->g, CG_I64, (double)i + 1);
        cg_node *xi = cg_slice(x, 1, cg_scalar(m->g, CG_I64, (double)i * IN), cg_scalar(m->g, CG_I64, (double)(i + 1) * IN), 1);
        cg_node *yi = cg_reshape(cg_slice(y, 0, at, next, 1), CG_SHAPE(CG_ANY));
        h = layer_norm(cg_tanh(cg_add(cg_add(cg_matmul(xi, u), cg_matmul(h, w)), bias)), gain);
        cg_node *loss = cg_cross_entropy_loss(cg_matmul(cg_relu(h), out), yi, NULL);
        m->cost = m->cost ? cg_add(m->cost, loss) : loss;
    }
}

static void wide(model *m, int n)
{
    for (int i = 0; i < n; i++) {
        cg_node *p = param(m, "p", CG_SHAPE(WIDTH)), *loss = cg_sum(cg_mul(p, cg_tanh(p)), CG_REDUCE());
        m->cost = m->cost ? cg_add(m->cost, loss) : loss;
    }
}

static const struct { const char *name; void (*build)(model *, int n); bool trains; int nodes, on_opencl; double times, seconds, compile_seconds; } graphs[] = {
    { "chain", chain, false, 1000000, 10000, 12, 20, 20 },
    { "diamond", diamond, false, 10000, 10000, 12, 20, 20 },
    { "mixed", mixed, true, 50000, 10000, 15, 20, 2 },
    { "wide", wide, true, 10000, 1000, 15, 20, 20 },
};

/* ---- phases */

static double processor_ms(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e3 + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-3;
}

/* The most memory since the last call, where the kernel lets us ask. */
static long most_mib(void)
{
    char line[200];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    if ((f = fopen("/proc/self/clear_refs", "w"))) {
        fputs("5", f);
        fclose(f);
    }
    return kib >> 10;
}

static void lap(cost *c, phase p, double *from)
{
    const double now = processor_ms();
    c->ms[p] = now - *from;
    c->all += c->ms[p];
    c->mib[p] = most_mib();
    c->most = c->mib[p] > c->most ? c->mib[p] : c->most;
    *from = processor_ms();
}

static void differentiate(model *m, bool trains)
{
    cg_node ***places = must(calloc((size_t)m->wrt.n, sizeof *places));
    for (int i = 0; i < m->wrt.n; i++)
        succeed(CG_PUSH(&m->grads, NULL));
    for (int i = 0; i < m->wrt.n; i++)
        places[i] = &m->grads.at[i];
    succeed(cg_grad(m->cost, m->wrt.at, m->wrt.n, places, m->wrt.n) == CG_OK);
    free(places);
    if (trains)
        momentum(m);
}

static cg_function *compile(const model *m)
{
    cg_node *const out[] = { m->cost, m->grads.at[0] };
    return must(cg_compile(m->g, CG_SPEC(.name = "deep", .inputs = m->inputs.at, .ninputs = m->inputs.n, .outputs = out,
                                         .noutputs = m->updates.n ? 1 : 2, .updates = m->updates.at, .nupdates = m->updates.n)));
}

static void call(const model *m, cg_function *f)
{
    cg_array *out[2] = { NULL, NULL };
    succeed(cg_call(f, m->values.at, m->values.n, out) == CG_OK);
    (void)must((void *)(uintptr_t)cg_array_data(out[0]));
    for (int i = 0; i < CG_LEN(out); i++)
        cg_array_free(out[i]);
}

static void free_model(model *m)
{
    cg_graph_free(m->g);
    for (int i = 0; i < m->values.n; i++)
        cg_array_free(m->values.at[i]);
    for (int i = 0; i < m->vars.n; i++)
        cg_array_free(m->vars.at[i]);
    CG_VEC_FREE(&m->inputs);
    CG_VEC_FREE(&m->values);
    CG_VEC_FREE(&m->vars);
    CG_VEC_FREE(&m->wrt);
    CG_VEC_FREE(&m->grads);
    CG_VEC_FREE(&m->updates);
}

static cost cost_of(int graph, int n)
{
    cost c = { 0 };
    model m = { .g = must(cg_graph_new()) };
    (void)most_mib();
    double from = processor_ms();
    graphs[graph].build(&m, n);
    lap(&c, BUILD, &from);
    differentiate(&m, graphs[graph].trains);
    lap(&c, DIFFERENTIATE, &from);
    c.nodes = m.g->count;
    cg_function *f = compile(&m);
    lap(&c, COMPILE, &from);
    call(&m, f);
    lap(&c, CALL, &from);
    cg_text_free(must(cg_print((cg_node *const[]){ m.cost, m.grads.at[0] }, 2)));
    lap(&c, PRINT, &from);
    cg_function_free(f);
    free_model(&m);
    lap(&c, FREE, &from);
    return c;
}

static void print(const char *name, int n, const cost *c)
{
    printf("%-8s %8d %8ld", name, n, c->nodes);
    for (int p = 0; p < PHASES; p++)
        printf(" %8.1f", c->ms[p]);
    printf(" %8.1f %6ld\n", c->all, c->most);
    fflush(stdout);
}

static int complain(bool wrong, const char *name, const char *what)
{
    if (wrong)
        printf("%s: %s\n", name, what);
    return wrong;
}

static int measure(int k, int n, double times)
{
    const char *name = graphs[k].name;
    const cost tenth = cost_of(k, n / 10);
    print(name, n / 10, &tenth);
    const cost whole = cost_of(k, n);
    print(name, n, &whole);
    return complain(whole.all > graphs[k].seconds * 1e3, name, "takes too long") +
           complain(whole.ms[COMPILE] > graphs[k].compile_seconds * 1e3, name, "compiles too long") +
           complain(whole.most > MOST_MIB, name, "takes too much memory") +
           complain(tenth.nodes > SMALL_NODES && whole.all > times * tenth.all, name, "takes too many times what a tenth of it takes");
}

/* Other work on the machine, or beside it on its host, costs processor time too, now and then: what is ours is there every time. */
static int measure_again(int k, bool opencl, int part)
{
    const int n = (opencl ? graphs[k].on_opencl : graphs[k].nodes) / part;
    int failed = 1;
    for (int attempt = 0; attempt < ATTEMPTS && failed; attempt++)
        failed = measure(k, n, part > 1 ? 30 : graphs[k].times);
    return failed;
}

/* A process keeps the stack that it began with, so it begins again. */
static void on_a_small_stack(char **argv)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_STACK, &r) != 0 || r.rlim_cur <= STACK)
        return;
    r.rlim_cur = STACK;
    if (setrlimit(RLIMIT_STACK, &r) == 0)
        execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    on_a_small_stack(argv);
    const bool given = argc > 2 && strcmp(argv[1], "--part") == 0;
    const int part = given ? atoi(argv[2]) : 1, options = given ? 3 : 1;
    const cg_device *d = must(cg_device_open(NULL));
    const bool opencl = strncmp(cg_device_name(d), "opencl", 6) == 0;
    int failed = 0;
    printf("%-8s %8s %8s", cg_device_name(d), "size", "nodes");
    for (int p = 0; p < PHASES; p++)
        printf(" %8s", phase_names[p]);
    printf(" %8s %6s\n", "all ms", "MiB");
    for (int k = 0; k < CG_LEN(graphs); k++)
        if (asked(graphs[k].name, argv + options, argc - options))
            failed += measure_again(k, opencl, part > 0 ? part : 1);
    printf("%d failed\n", failed);
    cg_shutdown();
    return failed != 0;
}
