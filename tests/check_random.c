// SPDX-License-Identifier: MIT
/* Random draws: the published vectors of the generator, what is one draw and what is another, laws by their moments and distance from
 * the distribution function, dropout and its gradient. On the device of CG_DEVICE; everything but f64 normals is bit-equal to the cpu. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "core/cg.h"
#pragma GCC diagnostic ignored "-Wtype-limits"       /* one text for signed and unsigned */
#include "kernels/math.h"
#include "tests/verified.h"
#include "tests/suite.h"

/* Random123's known answers for philox4x32 of ten rounds: counter, key, block. */
static const uint32_t known[3][10] = {
    { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
    { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
    { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
};

static uint64_t pair(const uint32_t *w) { return (uint64_t)w[1] << 32 | w[0]; }

START_TEST(philox_gives_its_published_blocks)
{
    for (int k = 0; k < 3; k++)
        for (uint64_t w = 0; w < 4; w++)
            ck_assert_uint_eq(cg_philox_word_u64(pair(known[k]), pair(known[k] + 2), pair(known[k] + 4), w), known[k][6 + w]);
}
END_TEST

/* ---- a function of draws */

enum { N = 20000 };
typedef struct sample {
    cg_graph *g;
    cg_array *calls;
    cg_node *call, *dims[2];
    cg_function *f;
} sample;

static sample start(int64_t first)
{
    sample s = { .g = cg_graph_new(), .calls = cg_array_new(CG_I64, NULL, 0, &first) };
    s.call = cg_shared(s.g, "call", s.calls);
    s.dims[0] = cg_scalar(s.g, CG_I64, N / 10);
    s.dims[1] = cg_scalar(s.g, CG_I64, 10);
    return s;
}

static void compile(sample *s, cg_node *const *out, int n, const char *device)
{
    const cg_update next = { s->call, cg_add(s->call, cg_scalar(s->g, CG_I64, 1)) };
    s->f = cg_compile(s->g, CG_SPEC(.outputs = out, .noutputs = n, .updates = &next, .nupdates = 1, .device = cg_device_open(device)));
    ck_assert_msg(s->f != NULL, "%s", cg_last_error()->text);
}

static void call(const sample *s, cg_array **out)
{
    ck_assert_msg(cg_call(s->f, NULL, 0, out) == CG_OK, "%s", cg_last_error()->text);
}

static void end(sample *s)
{
    cg_function_free(s->f);
    cg_graph_free(s->g);
    cg_array_free(s->calls);
}

static const void *data_of(cg_array *a)
{
    const void *p = cg_array_data(a);
    ck_assert_msg(p != NULL, "%s", cg_last_error()->text);
    return p;
}

static int equal(cg_array *a, cg_array *b)
{
    return memcmp(data_of(a), data_of(b), (size_t)cg_array_count(a) * cg_dtype_bytes(cg_array_dtype(a))) == 0;
}

START_TEST(a_node_is_one_draw_and_two_builders_are_two)
{
    sample s = start(7);
    const cg_random *r = CG_RANDOM(s.call, 42);
    cg_node *a = cg_uniform(r, CG_F32, s.dims, 2), *b = cg_uniform(r, CG_F32, s.dims, 2);
    cg_node *out[] = { a, cg_sub(cg_exp(a), cg_exp(a)), b, cg_uniform(CG_RANDOM(s.call, 43), CG_F32, s.dims, 2) };
    cg_array *first[4] = { NULL }, *second[4] = { NULL };
    ck_assert_ptr_ne(a, b);
    compile(&s, out, 4, NULL);
    call(&s, first);
    call(&s, second);
    ck_assert(!equal(first[0], first[2]) && !equal(first[0], first[3]) && !equal(first[0], second[0]));
    for (int i = 0; i < N; i++)
        ck_assert_float_eq(((const float *)data_of(first[1]))[i], 0);
    const int64_t again = 7;
    cg_array_free(second[0]), cg_array_free(second[1]), cg_array_free(second[2]), cg_array_free(second[3]);
    ck_assert_int_eq(cg_array_set(s.calls, &again, sizeof again), CG_OK);
    call(&s, second);                    /* the same call number: the same numbers */
    for (int i = 0; i < 4; i++) {
        ck_assert(equal(first[i], second[i]));
        cg_array_free(first[i]);
        cg_array_free(second[i]);
    }
    end(&s);
}
END_TEST

START_TEST(bits_are_the_generators)
{
    sample s = start(5);
    cg_node *out = cg_random_bits(CG_RANDOM(s.call, 0x0123456789abcdef), s.dims, 2);
    cg_array *bits = NULL;
    compile(&s, &out, 1, NULL);
    call(&s, &bits);
    const uint32_t *p = data_of(bits);
    for (uint64_t i = 0; i < N; i++)     /* the first draw of a graph is draw 1 */
        ck_assert_uint_eq(p[i], cg_philox_word_u64(i / 4, 5 | (uint64_t)1 << 40, 0x0123456789abcdef, i % 4));
    cg_array_free(bits);
    end(&s);
}
END_TEST

static const cg_dtype floats[] = { CG_F16, CG_BF16, CG_F32, CG_F64 };
static cg_node *draw_of(const sample *s, int k)
{
    const cg_random *r = CG_RANDOM(s->call, 11);
    return k < 4 ? cg_uniform(r, floats[k], s->dims, 2) : k < 8 ? cg_normal(r, floats[k - 4], s->dims, 2) : k == 8 ? cg_bernoulli(r, 0.3, s->dims, 2) :
           k == 9 ? cg_randint(r, -3, 4, s->dims, 2) : cg_random_bits(r, s->dims, 2);
}

START_TEST(every_device_draws_the_same_bits)
{
    enum { LAWS = 11, F64_NORMAL = 7 };
    cg_array *got[2][LAWS] = { { NULL } };
    for (int d = 0; d < 2; d++) {
        sample s = start(1);
        cg_node *out[LAWS];
        for (int k = 0; k < LAWS; k++)
            out[k] = draw_of(&s, k);
        compile(&s, out, LAWS, d ? NULL : "cpu");
        call(&s, got[d]);
        for (int k = 0; k < LAWS; k++)
            data_of(got[d][k]);
        end(&s);
    }
    for (int k = 0; k < LAWS; k++) {
        const double *a = data_of(got[0][k]), *b = data_of(got[1][k]);
        for (int i = 0; i < N && k == F64_NORMAL; i++)
            ck_assert_double_le(fabs(a[i] - b[i]), 1e-12 * fabs(a[i]));
        ck_assert_msg(k == F64_NORMAL || equal(got[0][k], got[1][k]), "law %d has other bits", k);
        cg_array_free(got[0][k]);
        cg_array_free(got[1][k]);
    }
}
END_TEST

/* ---- laws */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double uniform_below(double x) { return x; }
static double normal_below(double x) { return 0.5 * erfc(-x / sqrt(2)); }

/* Mean and variance within 4 standard errors, and Kolmogorov's distance below its 0.1 percent point: 1.95 / sqrt(n). */
static void check_law(cg_array *a, double (*below)(double), double mean, double variance, double kurtosis)
{
    static double v[N];
    double sum = 0, squares = 0, distance = 0;
    for (int i = 0; i < N; i++) {
        v[i] = cg_array_dtype(a) == CG_F64 ? ((const double *)data_of(a))[i] : (double)((const float *)data_of(a))[i];
        sum += v[i];
        squares += (v[i] - mean) * (v[i] - mean);
    }
    qsort(v, N, sizeof *v, by_value);
    for (int i = 0; i < N; i++)
        distance = fmax(distance, fmax(fabs(below(v[i]) - (double)i / N), fabs(below(v[i]) - (i + 1.0) / N)));
    ck_assert_double_le(fabs(sum / N - mean), 4 * sqrt(variance / N));
    ck_assert_double_le(fabs(squares / N - variance), 4 * variance * sqrt((kurtosis - 1) / N));
    ck_assert_double_le(distance, 1.95 / sqrt(N));
}

START_TEST(laws_have_their_moments_and_distribution)
{
    sample s = start(0);
    cg_node *out[4];
    cg_array *got[4] = { NULL };
    for (int k = 0; k < 4; k++)
        out[k] = draw_of(&s, k < 2 ? 2 + k : 4 + k);
    compile(&s, out, 4, NULL);
    for (int round = 0; round < 3; round++) {
        call(&s, got);
        for (int k = 0; k < 4; k++) {
            if (k < 2)
                check_law(got[k], uniform_below, 0.5, 1.0 / 12, 1.8);
            else
                check_law(got[k], normal_below, 0, 1, 3);
            cg_array_free(got[k]);
        }
    }
    end(&s);
}
END_TEST

START_TEST(integers_and_coins_fall_evenly)
{
    sample s = start(3);
    cg_node *out[] = { draw_of(&s, 8), draw_of(&s, 9) };
    cg_array *got[2] = { NULL };
    int count[7] = { 0 }, heads = 0;
    compile(&s, out, 2, NULL);
    call(&s, got);
    for (int i = 0; i < N; i++) {
        const int64_t k = ((const int64_t *)data_of(got[1]))[i];
        ck_assert(k >= -3 && k < 4);
        count[k + 3]++;
        heads += ((const unsigned char *)data_of(got[0]))[i];
    }
    for (int k = 0; k < 7; k++)
        ck_assert_double_le(fabs(count[k] - N / 7.0), 4 * sqrt(N / 7.0 * 6 / 7));
    ck_assert_double_le(fabs(heads - 0.3 * N), 4 * sqrt(N * 0.3 * 0.7));
    cg_array_free(got[0]);
    cg_array_free(got[1]);
    end(&s);
}
END_TEST

/* Where an element is dropped its gradient is 0, elsewhere both are 1 / (1 - p): one mask serves both. */
START_TEST(dropout_scales_what_it_keeps_and_so_does_its_gradient)
{
    sample s = start(0);
    cg_node *one = cg_full(cg_scalar(s.g, CG_F32, 1), s.dims, 2), *x = cg_mul(one, cg_scalar(s.g, CG_F32, 3)), *dx = NULL;
    cg_array *value = cg_array_new(CG_F32, (const int64_t[]){ N / 10, 10 }, 2, NULL), *got[2] = { NULL };
    cg_node *w = cg_shared(s.g, "w", value), *y = cg_dropout(CG_RANDOM(s.call, 1), cg_add(x, w), 0.25);
    int kept = 0;
    cg_grad(cg_sum(y, CG_REDUCE()), CG_NODES(w), CG_OUT(&dx));
    compile(&s, (cg_node *[]){ y, dx }, 2, NULL);
    call(&s, got);
    const float *v = data_of(got[0]), *g = data_of(got[1]);
    for (int i = 0; i < N; i++) {
        const bool keep = v[i] != 0;
        kept += keep;
        ck_assert_double_le(fabs((double)v[i] - (keep ? 4 : 0)), 1e-6);
        ck_assert_double_le(fabs((double)g[i] - (keep ? 1 / 0.75 : 0)), 1e-6);
    }
    ck_assert_double_le(fabs(kept - 0.75 * N), 4 * sqrt(N * 0.25 * 0.75));
    cg_array_free(got[0]);
    cg_array_free(got[1]);
    end(&s);
    cg_array_free(value);
}
END_TEST

START_TEST(a_draw_prints_and_reads_as_itself)
{
    sample s = start(0);
    cg_node *vars[] = { s.call }, *a = cg_normal(CG_RANDOM(s.call, 9), CG_F32, s.dims, 2);
    char *text = cg_print(&a, 1);
    ck_assert_str_eq(text, "(normal call :seed 9 :draw 1 :shape [2000 10] :dtype f32)");
    ck_assert_ptr_eq(cg_read(s.g, text, vars, 1), a);
    ck_assert_ptr_ne(cg_normal(CG_RANDOM(s.call, 9), CG_F32, s.dims, 2), a);
    cg_text_free(text);
    end(&s);
}
END_TEST

START_TEST(wrong_draws_get_their_sentence)
{
    sample s = start(0);
    const cg_random *r = CG_RANDOM(s.call, 1);
    cg_node *made[] = { cg_bernoulli(r, 1.5, s.dims, 2), cg_randint(r, 3, 3, s.dims, 2), cg_uniform(r, CG_I32, s.dims, 2),
                        cg_normal(CG_RANDOM(cg_scalar(s.g, CG_F32, 1), 1), CG_F32, s.dims, 2) };
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_null(made[i]);
    ck_assert_str_eq(cg_graph_error(s.g)->code ? "said" : "", "said");
    ck_assert_msg(strstr(cg_graph_error(s.g)->text, "cg_bernoulli: 1.5 is no probability"), "%s", cg_graph_error(s.g)->text);
    cg_graph_free(s.g);
    cg_array_free(s.calls);
}
END_TEST

int main(void)
{
    return RUN_TESTS("random", philox_gives_its_published_blocks, bits_are_the_generators, a_node_is_one_draw_and_two_builders_are_two,
                     every_device_draws_the_same_bits, laws_have_their_moments_and_distribution, integers_and_coins_fall_evenly,
                     dropout_scales_what_it_keeps_and_so_does_its_gradient, a_draw_prints_and_reads_as_itself, wrong_draws_get_their_sentence);
}
