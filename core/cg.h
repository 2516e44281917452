// SPDX-License-Identifier: MIT
/* libcg: a tensor graph engine.
 *
 * Write an expression over typed variables, ask for its derivatives, compile it, call it:
 *
 *     cg_graph *g = cg_graph_new();
 *     cg_node  *x = cg_input(g, "x", CG_F32, CG_SHAPE(CG_ANY, 64));
 *     cg_node  *y = cg_input(g, "y", CG_I64, CG_SHAPE(CG_ANY));
 *     cg_node  *W = cg_shared(g, "W", w0), *b = cg_shared(g, "b", b0);
 *     cg_node  *loss = cg_mean(cg_cross_entropy(cg_add(cg_matmul(x, W), b), y), CG_REDUCE());
 *     cg_node  *dW, *db;
 *     cg_grad(loss, CG_NODES(W, b), CG_OUT(&dW, &db));
 *     cg_function *train = cg_compile(g, CG_SPEC(
 *         .name = "train", CG_INPUTS(x, y), CG_OUTPUTS(loss),
 *         CG_UPDATES({W, cg_sub(W, cg_scale(dW, 0.1))}, {b, cg_sub(b, cg_scale(db, 0.1))})));
 *     cg_array *out = NULL;
 *     cg_call(train, CG_ARRAYS(images, labels), &out);
 *
 * Builders are sticky: a wrong operand gives NULL, what is built on NULL is NULL and says nothing more, and the graph keeps
 * the sentences, which cg_compile and cg_graph_error report. Nothing here aborts, exits or prints. Functions that
 * return int give 0 or a negative cg_status; those that return a pointer give NULL; cg_last_error() tells why
 * (one per thread). Graph building: one thread per graph. Functions may be called from different threads.
 * Lists are a pointer and a count; CG_SHAPE(3, 4), CG_NODES(a, b)... expand to exactly these two.
 */
#ifndef CG_H
#define CG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CG_API __attribute__((visibility("default")))
#define CG_VERSION "0.1.0"

/* ---- Types ---------------------------------------------------------------------------------------------- */

typedef enum {
    CG_BOOL, CG_I8, CG_I16, CG_I32, CG_I64, CG_U8, CG_U16, CG_U32, CG_U64, CG_F16, CG_BF16, CG_F32, CG_F64, CG_DTYPE_COUNT
} cg_dtype;

typedef enum {
    CG_OK = 0,
    CG_EINVAL = -1,       /* an argument makes no sense */
    CG_ESHAPE = -2,       /* shapes do not fit */
    CG_EDTYPE = -3,       /* dtypes do not fit */
    CG_ENOMEM = -4,       /* host or device memory is exhausted */
    CG_EDEVICE = -5,      /* the device cannot be had, or failed */
    CG_EBUILD = -6,       /* a kernel did not compile */
    CG_EIO = -7,          /* a file could not be read or written */
    CG_EFORMAT = -8,      /* a file or a text is not what it claims to be */
    CG_EUNSUPPORTED = -9, /* known, but not done here */
    CG_ERUNTIME = -10     /* a value was out of range while the function ran */
} cg_status;

enum { CG_MAX_RANK = 8 };
#define CG_ANY  ((int64_t)-1)        /* a dim known only at the call; where it meets another, one that is 1 then stretches as in NumPy */
#define CG_NONE INT64_MIN            /* an absent bound of a slice */

typedef struct cg_graph cg_graph;
typedef struct cg_node cg_node;
typedef struct cg_array cg_array;
typedef struct cg_function cg_function;
typedef struct cg_device cg_device;

typedef struct cg_error {
    cg_status code;
    char text[1000];
} cg_error;

/* The last failure of this thread; its code is CG_OK if there was none. */
CG_API const cg_error *cg_last_error(void);
CG_API const char *cg_status_name(cg_status code);       /* "shapes do not fit" */
CG_API const char *cg_dtype_name(cg_dtype d);            /* "f32" */
CG_API size_t cg_dtype_bytes(cg_dtype d);                /* of one element */
/* What the library has to say goes here, one line a call (passes of cg_compile with their times, kernels built). Without
 * a hook (NULL) it is appended to the file that CG_LOG names, or dropped. Set it before other threads use the library. */
CG_API void cg_set_log(void (*hook)(void *user, const char *text), void *user);

/* ---- Lists ---------------------------------------------------------------------------------------------- */

#define CG_COUNT_(T, ...) ((int)(sizeof((T[]){ 0, __VA_ARGS__ }) / sizeof(T)) - 1)
#define CG_LIST_(T, ...)  (T[]){ 0, __VA_ARGS__ } + 1, CG_COUNT_(T, __VA_ARGS__)
#define CG_SHAPE(...)  CG_LIST_(const int64_t, __VA_ARGS__)
#define CG_AXES(...)   CG_LIST_(const int64_t, __VA_ARGS__)
#define CG_NODES(...)  CG_LIST_(cg_node *const, __VA_ARGS__)
#define CG_OUT(...)    CG_LIST_(cg_node **const, __VA_ARGS__)
#define CG_ARRAYS(...) CG_LIST_(cg_array *const, __VA_ARGS__)

/* ---- Arrays --------------------------------------------------------------------------------------------- */

/* A typed n-d array, dense and row-major. data may be NULL (zeros). The bytes are copied. */
CG_API cg_array *cg_array_new(cg_dtype d, const int64_t *shape, int rank, const void *data);
/* The same, but the caller's memory is used, and must outlive the array. */
CG_API cg_array *cg_array_borrow(cg_dtype d, const int64_t *shape, int rank, void *data);
CG_API void cg_array_free(cg_array *a);                  /* every free here takes NULL, too */
CG_API cg_dtype cg_array_dtype(const cg_array *a);
CG_API int cg_array_rank(const cg_array *a);
CG_API const int64_t *cg_array_shape(const cg_array *a); /* as many sizes as the rank; the array's */
CG_API int64_t cg_array_count(const cg_array *a);        /* elements */
/* The values in host memory, read back from the device when needed; NULL on failure. Valid until the array
 * is written, used by a function that updates it, or freed. */
CG_API const void *cg_array_data(cg_array *a);
/* Replaces the values; shape and dtype stay. */
CG_API int cg_array_set(cg_array *a, const void *data, size_t bytes);

/* ---- Graphs --------------------------------------------------------------------------------------------- */

CG_API cg_graph *cg_graph_new(void);
CG_API void cg_graph_free(cg_graph *g);                       /* and its nodes; functions stay, they have copies */
/* What went wrong while building, in order, but not what only follows from it: each sentence is of another expression or line.
 * cg_compile gives them all as one text, a line each, and "and N more" where they are too many for it. */
CG_API const cg_error *cg_graph_error(const cg_graph *g);     /* the first; NULL: none */
CG_API int cg_graph_error_count(const cg_graph *g);
CG_API const cg_error *cg_graph_error_at(const cg_graph *g, int i);      /* the first is 0; 16 are kept, NULL: no more */
CG_API cg_node *cg_graph_fail(cg_graph *g, cg_status code, const char *text);     /* what a builder of one's own has to say; NULL, for it to return */
CG_API void cg_graph_clear_error(cg_graph *g);                /* forgets them; what was built stays, and building goes on */
CG_API int cg_graph_verify(const cg_graph *g);                /* what ir.h promises holds; for tests */

/* What a call is given. The name is for messages, cg_call_named and cg_read. */
CG_API cg_node *cg_input(cg_graph *g, const char *name, cg_dtype d, const int64_t *shape, int rank);
/* A variable that functions read and update; the array must outlive the graph and its functions. */
CG_API cg_node *cg_shared(cg_graph *g, const char *name, cg_array *value);
/* The values, dense and row-major, are copied; below 2^31 bytes. */
CG_API cg_node *cg_constant(cg_graph *g, cg_dtype d, const int64_t *shape, int rank, const void *data);
CG_API cg_node *cg_scalar(cg_graph *g, cg_dtype d, double value);     /* value as cg_cast gives it */
CG_API cg_node *cg_weak(cg_graph *g, double value);           /* a bare number: takes the other operand's dtype */

/* Names are for messages, plans and printed text, and never make two expressions different. Who builds an expression
 * again gets the same node; messages then call it by its first name and tell the other places. Returns n. */
CG_API cg_node *cg_name(cg_node *n, const char *name);
CG_API const char *cg_node_name(const cg_node *n);            /* the first; "" when it has none */
/* Messages tell the line that called the builder of a node (with debug information and libdw; else function + offset).
 * Bindings of other languages say it themselves: the site of all that is built from now on; file NULL: the caller again. */
CG_API void cg_at(cg_graph *g, const char *file, int line);
/* The first statement of a function that builds for its caller, as every builder here does: until it returns, what is built belongs to the
 * line that called it. Inside another such function it does nothing. g may be NULL. For gcc and clang; the function must not be inlined. */
#define CG_BUILDER(g) cg_graph *const cg_builder_ __attribute__((cleanup(cg_builder_leave), unused)) = cg_builder_enter((g), __builtin_return_address(0))
CG_API cg_graph *cg_builder_enter(cg_graph *g, const void *caller);
CG_API void cg_builder_leave(cg_graph *const *g);
/* What is built until the matching pop is called layer1/h in messages and plans. Scopes nest. */
CG_API void cg_scope_push(cg_graph *g, const char *name);
CG_API void cg_scope_pop(cg_graph *g);
CG_API cg_graph *cg_node_graph(const cg_node *n);
CG_API cg_dtype cg_node_dtype(const cg_node *n);
CG_API int cg_node_rank(const cg_node *n);
CG_API int64_t cg_node_dim(const cg_node *n, int axis);       /* CG_ANY when not known */
CG_API cg_node *cg_dim(cg_node *n, int axis);                 /* the size as an i64 scalar node */
CG_API int cg_node_outputs(const cg_node *n);                 /* more than 1: a loop as cg_read gives it, which only cg_output reads */
CG_API cg_node *cg_output(cg_node *n, int k);                 /* output k; of a node with one output: itself */

/* Text form: (op operand... :attr value...); the caller frees. Inverse of cg_read. */
CG_API char *cg_print(cg_node *const *roots, int n);
/* The graph of the roots in Graphviz's language: `dot -Tsvg` makes a picture of it. The caller frees. */
CG_API char *cg_print_dot(cg_node *const *roots, int n);
/* Reads one expression; names are found among vars by their names. */
CG_API cg_node *cg_read(cg_graph *g, const char *text, cg_node *const *vars, int nvars);
/* The operators with operands and attributes, one a line; the caller frees. */
CG_API char *cg_list_ops(void);
/* The rewrite rules, as documentation; the caller frees. */
CG_API char *cg_list_rules(void);

/* ---- Elementwise ------------------------------------------------------------------------------------------
 * Operands broadcast as NumPy's. Any float wins over any integer, the wider of two floats wins (f16 with bf16: f32), signed with
 * unsigned gives the next wider signed; a bare number (cg_weak) takes the others' dtype. What is defined for floats only takes
 * integers as f32. Narrow integers wrap; f16 and bf16 round after each operation. In f32 every device gives the same bits, at most 2 units
 * of the last place off for exp and log, 4 for the others, 10 for gamma and Bessel functions (tests/elem_bounds.h has all). */

/* Floats become integers by truncation; what is beyond the range of d is its nearest end, and NaN 0. Integers become narrower ones modulo their
 * width. Floats take the nearest number, halves to even, rounded once whatever a is. To bool: whether a is not 0, which NaN is not. */
CG_API cg_node *cg_cast(cg_node *a, cg_dtype d);
#define CG_DECLARE1(name) CG_API cg_node *cg_##name(cg_node *a)
#define CG_DECLARE2(name) CG_API cg_node *cg_##name(cg_node *a, cg_node *b)
#define CG_DECLARE3(name) CG_API cg_node *cg_##name(cg_node *a, cg_node *b, cg_node *c)
/* Arithmetic. + and * of two bools are or and and. An integer divided by 0 gives 0 and fails the call, which names the node; -x and x / -1
 * of the least integer wrap. cg_where computes both its values, so it is the divisor that must be safe:
 * cg_floor_divide(a, cg_where(cg_equal(b, zero), one, b)). */
CG_DECLARE2(add);             /* a + b */
CG_DECLARE2(sub);             /* a - b */
CG_DECLARE2(mul);             /* a * b */
CG_DECLARE2(div);             /* a / b; of integers in f32 */
CG_DECLARE2(floor_divide);    /* rounded down */
CG_DECLARE2(mod);             /* a - b floor_divide(a, b): of b's sign */
CG_DECLARE2(fmod);            /* a - b trunc(a / b): of a's sign */
CG_DECLARE2(power);           /* a to the b; of integers an integer (a negative exponent: the reciprocal, truncated; of 0 it is 0) */
CG_DECLARE1(neg);             /* -a */
CG_DECLARE1(abs);             /* its distance from 0 */
CG_DECLARE1(sign);            /* -1, 0 or 1; NaN stays */
CG_DECLARE1(square);          /* a * a */
CG_DECLARE1(reciprocal);      /* 1 / a */
CG_DECLARE1(sqrt);            /* square root */
CG_DECLARE1(rsqrt);           /* 1 / sqrt(a) */
CG_DECLARE1(cbrt);            /* cube root */
CG_DECLARE2(hypot);           /* sqrt(a^2 + b^2), without overflow on the way */
CG_DECLARE2(heaviside);       /* 0 where a < 0, b where a is 0, 1 where a > 0 */
CG_DECLARE2(copysign);        /* a with b's sign */
CG_DECLARE2(nextafter);       /* the next number from a towards b */
CG_DECLARE1(deg2rad);         /* degrees to radians */
CG_DECLARE1(rad2deg);         /* radians to degrees */
/* Rounding. Integers stay as they are. */
CG_DECLARE1(floor);           /* down */
CG_DECLARE1(ceil);            /* up */
CG_DECLARE1(trunc);           /* towards 0 */
CG_DECLARE1(round);           /* to the nearest, halves to even */
/* Exponentials and logarithms */
CG_DECLARE1(exp);             /* e^a */
CG_DECLARE1(exp2);            /* 2^a */
CG_DECLARE1(expm1);           /* e^a - 1, exact near 0 */
CG_DECLARE1(log);             /* natural logarithm */
CG_DECLARE1(log2);            /* to base 2 */
CG_DECLARE1(log10);           /* to base 10 */
CG_DECLARE1(log1p);           /* log(1 + a), exact near 0 */
CG_DECLARE1(log1mexp);        /* log(1 - e^a), for a < 0 */
CG_DECLARE2(logaddexp);       /* log(e^a + e^b) */
CG_DECLARE2(logaddexp2);      /* log2(2^a + 2^b) */
CG_DECLARE2(xlogy);           /* a log(b), 0 where a is 0 */
CG_DECLARE2(xlog1py);         /* a log(1 + b), 0 where a is 0 */
CG_DECLARE1(logit);           /* log(a / (1 - a)) */
/* Angles in radians, and hyperbolic functions */
CG_DECLARE1(sin);             /* sine */
CG_DECLARE1(cos);             /* cosine */
CG_DECLARE1(tan);             /* tangent */
CG_DECLARE1(arcsin);          /* -pi/2 to pi/2 */
CG_DECLARE1(arccos);          /* 0 to pi */
CG_DECLARE1(arctan);          /* -pi/2 to pi/2 */
CG_DECLARE2(arctan2);         /* the angle of the point (b, a), -pi to pi */
CG_DECLARE1(sinh);            /* hyperbolic sine */
CG_DECLARE1(cosh);            /* hyperbolic cosine */
CG_DECLARE1(tanh);            /* hyperbolic tangent */
CG_DECLARE1(arcsinh);         /* its inverse functions */
CG_DECLARE1(arccosh);         /* at least 0 */
CG_DECLARE1(arctanh);         /* for -1 < a < 1 */
/* Special functions */
CG_DECLARE1(erf);             /* error function */
CG_DECLARE1(erfc);            /* 1 - erf(a), exact where it is small */
CG_DECLARE1(erfcx);           /* e^(a^2) erfc(a) */
CG_DECLARE1(erfinv);          /* erf of it is a */
CG_DECLARE1(erfcinv);         /* erfc of it is a */
CG_DECLARE1(gamma);           /* (a - 1)! */
CG_DECLARE1(lgamma);          /* log |gamma(a)| */
CG_DECLARE1(digamma);         /* the derivative of lgamma */
CG_DECLARE1(trigamma);        /* and of that; its own derivative is undefined here */
CG_DECLARE1(i0);              /* modified Bessel function of the first kind, order 0 */
CG_DECLARE1(i1);              /* order 1 */
/* Comparisons, to bool; NaN is unequal to all */
CG_DECLARE2(equal);           /* a == b */
CG_DECLARE2(not_equal);       /* a != b */
CG_DECLARE2(less);            /* a < b */
CG_DECLARE2(less_equal);      /* a <= b */
CG_DECLARE2(greater);         /* a > b */
CG_DECLARE2(greater_equal);   /* a >= b */
CG_DECLARE1(isnan);           /* not a number */
CG_DECLARE1(isinf);           /* either infinity */
CG_DECLARE1(isfinite);        /* neither */
CG_DECLARE1(signbit);         /* the sign is set; also of -0 and NaN */
/* Logic takes any number for true that is not 0; bits are those of integers, and bools */
CG_DECLARE2(logical_and);     /* a && b */
CG_DECLARE2(logical_or);      /* a or b */
CG_DECLARE2(logical_xor);     /* one of both */
CG_DECLARE1(logical_not);     /* a is 0 */
CG_DECLARE2(bitwise_and);     /* a & b */
CG_DECLARE2(bitwise_or);      /* bits of either */
CG_DECLARE2(bitwise_xor);     /* bits of one */
CG_DECLARE1(invert);          /* ~a; of a bool: not */
CG_DECLARE2(left_shift);      /* a << b; 0 when b is negative or not below the width */
CG_DECLARE2(right_shift);     /* a >> b, filled with the sign; likewise nothing but the sign is left */
CG_DECLARE3(philox);          /* 32 random bits (narrow integers keep the low ones): word a % 4 of Philox4x32-10 of the counter (a / 4, b) under the key c */
/* Selection. maximum and minimum give NaN if there is one, fmax and fmin the other operand. */
CG_DECLARE3(where);           /* a ? b : c */
CG_DECLARE2(maximum);         /* the greater; its whole gradient goes to a when both are equal */
CG_DECLARE2(minimum);         /* the smaller */
CG_DECLARE2(fmax);            /* the greater */
CG_DECLARE2(fmin);            /* the smaller */
CG_DECLARE3(clip);            /* b where a < b, c where a > c, else a; b is tried first */
/* Activations */
CG_DECLARE1(relu);            /* max(a, 0) */
CG_DECLARE2(leaky_relu);      /* a, times b where a < 0 */
CG_DECLARE2(elu);             /* a, b (e^a - 1) where a < 0 */
CG_DECLARE1(selu);            /* the self-normalising elu */
CG_DECLARE1(softplus);        /* log(1 + e^a) */
CG_DECLARE1(softsign);        /* a / (1 + |a|) */
CG_DECLARE1(sigmoid);         /* 1 / (1 + e^-a) */
CG_DECLARE1(hard_sigmoid);    /* a / 5 + 1/2 within 0..1 */
CG_DECLARE1(hard_swish);      /* a times a / 6 + 1/2 within 0..1 */
CG_DECLARE1(silu);            /* a sigmoid(a) */
CG_DECLARE1(mish);            /* a tanh(softplus(a)) */
CG_DECLARE1(gelu);            /* a times the normal distribution function of a */
CG_DECLARE1(gelu_tanh);       /* its approximation by tanh */
/* a itself, and another gradient: what cg_grad hands on through it. They are gone once a function is compiled. */
CG_DECLARE1(zero_grad);         /* zeros: a counts as constant, though connected */
CG_DECLARE1(disconnected_grad); /* none: a is cut off */
CG_DECLARE1(undefined_grad);    /* an error, if a variable is reached through it */
CG_DECLARE3(grad_clip);         /* the gradient within b..c */
CG_DECLARE2(grad_scale);        /* the gradient times b; -1 reverses it */
CG_API cg_node *cg_scale(cg_node *a, double factor);          /* a * factor, in a's dtype */

/* ---- Reductions ------------------------------------------------------------------------------------------ */

typedef struct cg_reduce { int zero_; const int64_t *axes; int naxes; int keepdims; } cg_reduce;   /* no axes: all */
#define CG_REDUCE(...)    (&(cg_reduce){ .zero_ = 0, __VA_ARGS__ })
#define CG_OVER(...)      .axes = (const int64_t[]){ 0, __VA_ARGS__ } + 1, .naxes = CG_COUNT_(const int64_t, __VA_ARGS__)
CG_API cg_node *cg_sum(cg_node *a, const cg_reduce *o);       /* integers: 64 bits wide; 0 over no elements */
CG_API cg_node *cg_prod(cg_node *a, const cg_reduce *o);      /* integers: 64 bits wide; 1 over no elements */
CG_API cg_node *cg_max(cg_node *a, const cg_reduce *o);       /* NaN wins; an empty axis is an error where its size is known */
CG_API cg_node *cg_min(cg_node *a, const cg_reduce *o);       /* likewise */
CG_API cg_node *cg_mean(cg_node *a, const cg_reduce *o);      /* integers: f32 */
CG_API cg_node *cg_var(cg_node *a, const cg_reduce *o);       /* of the population: mean((a - mean a)^2) */
CG_API cg_node *cg_std(cg_node *a, const cg_reduce *o);       /* its square root */
CG_API cg_node *cg_logsumexp(cg_node *a, const cg_reduce *o); /* log sum exp a, right for any size of a; integers: f32 */
CG_API cg_node *cg_any(cg_node *a, const cg_reduce *o);       /* bool: an element is not 0 */
CG_API cg_node *cg_all(cg_node *a, const cg_reduce *o);       /* bool: every element is */
/* i64: the position among the reduced elements, row-major, of the first greatest (least); the first NaN wins. */
CG_API cg_node *cg_argmax(cg_node *a, const cg_reduce *o);
CG_API cg_node *cg_argmin(cg_node *a, const cg_reduce *o);

/* ---- Shape ----------------------------------------------------------------------------------------------- */

CG_API cg_node *cg_reshape(cg_node *a, const int64_t *shape, int rank);          /* one dim may be CG_ANY: inferred */
CG_API cg_node *cg_reshape_to(cg_node *a, cg_node *const *dims, int rank);       /* dims as i64 scalar nodes */
CG_API cg_node *cg_transpose(cg_node *a, const int64_t *axes, int n);            /* n 0: reversed */
CG_API cg_node *cg_expand_dims(cg_node *a, int axis);                            /* the new axis has size 1; -1: it is the last */
CG_API cg_node *cg_broadcast_to(cg_node *a, cg_node *const *dims, int rank);     /* dims as i64 scalar nodes */
CG_API cg_node *cg_concatenate(cg_node *const *parts, int n, int axis);          /* sizes agree but along axis; dtypes are promoted */
CG_API cg_node *cg_stack(cg_node *const *parts, int n, int axis);                /* along a new axis */
CG_API int cg_split(cg_node *a, int axis, cg_node **const *parts, int n);        /* into n equal parts: CG_OUT(&x, &y) */
CG_API cg_node *cg_flip(cg_node *a, int axis);                                   /* from its last element to its first */
CG_API cg_node *cg_squeeze(cg_node *a, int axis);                                /* the axis must be known to have size 1 */
/* start, start + step, ... before stop, as i64; all i64 scalars, the step a known number. */
CG_API cg_node *cg_arange(cg_node *start, cg_node *stop, cg_node *step);
CG_API cg_node *cg_eye(cg_node *rows, cg_node *columns, int k, cg_dtype d);      /* 1 where column - row is k */
CG_API cg_node *cg_full(cg_node *value, cg_node *const *dims, int rank);         /* the scalar in every element */
CG_API cg_node *cg_zeros_like(cg_node *a);                                       /* of its dtype and shape */
CG_API cg_node *cg_ones_like(cg_node *a);
CG_API cg_node *cg_shape(cg_node *a);                                            /* the sizes as an i64 vector; never computes a */
/* before[i] and after[i] elements more along axis i of rank axes: value (a scalar), or 0 where it is NULL. */
CG_API cg_node *cg_pad(cg_node *a, const int64_t *before, const int64_t *after, int rank, cg_node *value);
CG_API cg_node *cg_one_hot(cg_node *classes, int64_t depth, cg_dtype d);         /* a new last axis: 1 at the class, else 0; only 0 for a class out of range */

/* Random numbers: word element % 4 of Philox4x32-10 of the key `seed` and the counter (element / 4, call + draw 2^40), so the same bits on every device and with
 * every number of threads. call is an i64 scalar below 2^40; a shared variable that each call adds 1 to gives other numbers at each call:
 *     cg_node *call = cg_shared(g, "call", zero), *mask = cg_bernoulli(CG_RANDOM(call, 42), 0.5, dims, 2);
 *     ... CG_UPDATES({ call, cg_add(call, cg_weak(g, 1)) })
 * Each builder call is another draw and never merges with one before; a node that is used twice is one draw. A draw
 * in the body of a loop is one for all its steps, of which step t has row t: there element counts from t times the number of elements (in loops within
 * loops t counts the inner steps of all outer ones), so each step draws anew, and again the same where a gradient repeats it. Nothing has a gradient here but the operand of dropout. Sizes are i64 scalar nodes. */
typedef struct cg_random { cg_node *call; int64_t seed; } cg_random;
#define CG_RANDOM(...) (&(cg_random){ __VA_ARGS__ })
CG_API cg_node *cg_random_bits(const cg_random *r, cg_node *const *dims, int rank);                 /* u32 */
CG_API cg_node *cg_uniform(const cg_random *r, cg_dtype d, cg_node *const *dims, int rank);         /* floats, 0 to below 1 */
CG_API cg_node *cg_normal(const cg_random *r, cg_dtype d, cg_node *const *dims, int rank);          /* floats, mean 0 and deviation 1 */
CG_API cg_node *cg_bernoulli(const cg_random *r, double p, cg_node *const *dims, int rank);         /* bool, true with probability p */
CG_API cg_node *cg_randint(const cg_random *r, int64_t low, int64_t high, cg_node *const *dims, int rank);   /* i64, low to below high; at most 2^32 values */
CG_API cg_node *cg_dropout(const cg_random *r, cg_node *a, double p);   /* 0 with probability p, else a / (1 - p) */
/* Along one axis: start, stop as i64 scalar nodes or NULL for the end of the axis; step is not 0. */
CG_API cg_node *cg_slice(cg_node *a, int axis, cg_node *start, cg_node *stop, int64_t step);
/* Windows that slide along axes, as NumPy's sliding_window_view: y[.., o, .., k] = a[.., o*stride + k*dilation - before, ..], zero outside a;
 * the window axes come last, in the order of `axes`. Lists have one value an axis; NULL: stride and dilation 1, no padding. */
typedef struct cg_windows { size_t struct_size; const int64_t *axes, *size; int naxes; const int64_t *stride, *dilation, *before, *after; } cg_windows;
#define CG_WINDOWS(...) (&(cg_windows){ .struct_size = sizeof(cg_windows), __VA_ARGS__ })
CG_API cg_node *cg_sliding_window_view(cg_node *a, const cg_windows *o);
CG_API cg_node *cg_take(cg_node *a, cg_node *rows);           /* a[rows] along axis 0: integers of any shape, negative ones from the end; out of range fails the call */
CG_API cg_node *cg_take_axis(cg_node *a, cg_node *rows, int axis);               /* a[:, rows, :]: the shape of rows stands for the axis */
/* a[.., rows[.., k, ..], ..] for every place of rows, which has a's sizes but along the axis; integers as in cg_take. Its gradient compares every
 * element of a line with each that is taken from it. */
CG_API cg_node *cg_take_along_axis(cg_node *a, cg_node *rows, int axis);
/* a, where a part is replaced by y or increased by it. y has a's dtype and stretches to the part; no array is changed, but the new value of a
 * variable is written into its buffer, so an update costs what it writes: { W, cg_inc_rows(W, rows, y, 0) }. A part is a slice:
 *     cg_set_slice(a, CG_CUTS({ .axis = 0, .start = i, .stop = j }, { .axis = 1, .step = -1 }), y)      a[i:j, ::-1] = y
 * with bounds as in cg_slice, or rows of one axis as in cg_take_axis. Of equal rows the last one stays, or they add up in the order of rows; a gradient of
 * y is that of the part, and 0 for rows that were written over. */
typedef struct cg_cut { int axis; cg_node *start, *stop; int64_t step; } cg_cut;       /* NULL: to the end of the axis; step 0: 1 */
#define CG_CUTS(...) (const cg_cut[]){ { 0, 0, 0, 0 }, __VA_ARGS__ } + 1, \
                     (int)(sizeof((const cg_cut[]){ { 0, 0, 0, 0 }, __VA_ARGS__ }) / sizeof(cg_cut)) - 1
CG_API cg_node *cg_set_slice(cg_node *a, const cg_cut *cuts, int n, cg_node *y);
CG_API cg_node *cg_inc_slice(cg_node *a, const cg_cut *cuts, int n, cg_node *y);
CG_API cg_node *cg_set_rows(cg_node *a, cg_node *rows, cg_node *y, int axis);
CG_API cg_node *cg_inc_rows(cg_node *a, cg_node *rows, cg_node *y, int axis);
CG_API cg_node *cg_scatter_add(cg_node *a, cg_node *rows, cg_node *src);         /* cg_inc_rows along axis 0 */

/* ---- Linear algebra and nets ------------------------------------------------------------------------------ */

CG_API cg_node *cg_matmul(cg_node *a, cg_node *b);            /* NumPy's rules; integers wrap, of bools it is whether any pair holds */
CG_API cg_node *cg_softmax(cg_node *a, int axis);             /* exp(a) / sum exp(a) along the axis, right for any size of a; floats */
CG_API cg_node *cg_log_softmax(cg_node *a, int axis);         /* its logarithm */
CG_API cg_node *cg_cross_entropy(cg_node *logits, cg_node *classes);   /* (n, c, ...), (n, ...) integers -> (n, ...); a class out of 0..c-1 fails the call */
/* Rows of a table, as cg_take; those that are padding_idx (CG_NONE: none) pass no gradient on. */
CG_API cg_node *cg_embedding(cg_node *table, cg_node *rows, int64_t padding_idx);
/* softmax(q k' scale) v of queries (..., l, e), keys (..., s, e), values (..., s, f): (..., l, f). A row of which no key counts is zeros, in its
 * gradient, too. Leading axes, and those of the mask, which stretches to (..., l, s), broadcast. */
typedef struct cg_attention_spec {
    size_t struct_size;
    cg_node *mask;                        /* bool: which keys count; floats are added to the scores, and a key with -inf does not count */
    int is_causal;                        /* of query i the keys up to i count */
    double scale;                         /* 0: 1 / sqrt(e) */
} cg_attention_spec;
#define CG_ATTENTION(...) (&(cg_attention_spec){ .struct_size = sizeof(cg_attention_spec), __VA_ARGS__ })
CG_API cg_node *cg_attention(cg_node *q, cg_node *k, cg_node *v, const cg_attention_spec *o);
/* (a - mean) / sqrt(var + epsilon) scale + bias, in a's dtype (halves by way of f32); scale and bias, of the axes that they are for, may be NULL.
 * Layer: over axis and those behind it. Batch: over the axes of the options; the others are those of scale, bias, mean and var. */
CG_API cg_node *cg_layer_normalization(cg_node *a, cg_node *scale, cg_node *bias, int axis, double epsilon);
typedef struct cg_batch_norm {
    size_t struct_size;
    const int64_t *axes; int naxes;       /* CG_OVER(0, 2, 3); none: all but the second, that of channels */
    double epsilon;                       /* 0: 1e-5 */
    cg_node *running_mean, *running_var;  /* or NULL */
    double running_average_factor;        /* 0: 0.1 */
} cg_batch_norm;
#define CG_BATCH_NORM(...) (&(cg_batch_norm){ .struct_size = sizeof(cg_batch_norm), __VA_ARGS__ })
/* running_mean and running_var: their next values, running + factor (now - running), where now is the mean of this batch and its variance times
 * m / (m - 1) for the m elements of a channel, of one element 0. */
typedef struct cg_batch_normalized { cg_node *y, *mean, *inverse_deviation, *running_mean, *running_var; } cg_batch_normalized;
CG_API int cg_batch_normalization_train(cg_node *a, cg_node *scale, cg_node *bias, const cg_batch_norm *o, cg_batch_normalized *to);    /* with this batch's */
CG_API cg_node *cg_batch_normalization(cg_node *a, cg_node *scale, cg_node *bias, cg_node *mean, cg_node *var, const cg_batch_norm *o); /* with those given */

/* Convolution along 1, 2 or 3 axes: images (n, c, space), filters (o, c / groups, window), result (n, o, space):
 *     y[n, o, p] = sum of x[n, c, p*stride + k*dilation - before] * w[o, c, k] over the channels of o's group and the window; x is 0 outside.
 * That is ONNX's Conv, a correlation; `flip` turns the windows round, which makes it the convolution of mathematics. Floats of one dtype. Sizes may
 * be CG_ANY. A bias is an addition: its cost goes into the next step. Lists have one value an axis of space, NULL: 1s. */
typedef enum {
    CG_BORDER_PADS,               /* as many zeros around as `pads` says, NULL: none, so windows lie within the images (valid) */
    CG_BORDER_FULL,               /* every window that meets the image */
    CG_BORDER_HALF,               /* half a window around, so an odd one with stride 1 keeps the size */
    CG_BORDER_SAME_UPPER,         /* so many that the result has size / stride points, rounded up: half of them before, an odd one behind */
    CG_BORDER_SAME_LOWER          /* ... an odd one before */
} cg_border;
typedef struct cg_convolution {
    size_t struct_size;
    const int64_t *strides, *dilations;
    const int64_t *pads;          /* two an axis of space: all of before, then all of behind, as in ONNX */
    int64_t groups;               /* 0: 1; as many as channels: depthwise */
    cg_border border;
    int flip;
} cg_convolution;
#define CG_CONV(...) (&(cg_convolution){ .struct_size = sizeof(cg_convolution), __VA_ARGS__ })
CG_API cg_node *cg_conv(cg_node *x, cg_node *w, const cg_convolution *o);        /* o NULL: no option */
/* Its gradients, with the same options: g is that of the result; sizes are those of x's space, or of w's window, one i64 scalar an axis. */
CG_API cg_node *cg_conv_input_grad(cg_node *g, cg_node *w, cg_node *const *sizes, const cg_convolution *o);
CG_API cg_node *cg_conv_weight_grad(cg_node *x, cg_node *g, cg_node *const *sizes, const cg_convolution *o);

/* ---- Loops -------------------------------------------------------------------------------------------------- */

/* A loop is built between begin and end; what is built from its placeholders in between is its body:
 *     cg_scan *s = cg_scan_begin(g, CG_SCAN());
 *     cg_node *h = cg_scan_state(s, h0), *next = cg_tanh(cg_add(cg_matmul(cg_scan_seq(s, x), U), cg_matmul(h, W)));
 *     cg_scan_next(s, h, next);
 *     cg_scan_out(s, next, CG_SCAN_ALL);
 *     cg_node *hs;                                          // (steps, ...)
 *     cg_scan_end(s, CG_OUT(&hs));
 * Everything else that the body uses is captured by itself. Errors are sticky, as those of builders. */
typedef struct cg_scan cg_scan;
typedef enum {
    CG_SAVE_EXPENSIVE,            /* besides the states what is not computed in passing: products, reductions */
    CG_SAVE_STATES                /* the states; all else is computed again, step by step */
} cg_scan_save;
typedef struct cg_scan_spec {
    size_t struct_size;
    cg_node *steps;               /* i64 scalar; NULL: as many as the shortest sequence has rows. Negative, or more than a sequence has: the call fails */
    int backwards;                /* sequences are walked from their last row to the first; outputs are in the order of steps */
    const char *name;             /* for messages and plans */
    int64_t truncate_gradient;    /* only so many last steps are differentiated, 0: all. What the others read and gave counts as constant */
    cg_scan_save save;            /* what a gradient may keep of each step */
    int64_t every;                /* checkpoints, 0: none. A gradient keeps the states of every so many steps, and as many steps are then computed again:
                                   * of T steps it holds T / every states and what `every` steps save, least where every is about the root of T. Refused with
                                   * truncate_gradient, which keeps the last steps only, and with cg_scan_until, since blocks are made whole */
} cg_scan_spec;
#define CG_SCAN(...) (&(cg_scan_spec){ .struct_size = sizeof(cg_scan_spec), __VA_ARGS__ })
typedef enum {
    CG_SCAN_ALL,                  /* the value of every step, stacked along a new axis 0 */
    CG_SCAN_LAST,                 /* that of the last step; with no step: the state's init, or zeros if it is no state's next value */
    CG_SCAN_SUM                   /* the sum over steps */
} cg_scan_keep;
CG_API cg_scan *cg_scan_begin(cg_graph *g, const cg_scan_spec *o);
CG_API cg_node *cg_scan_seq(cg_scan *s, cg_node *x);                    /* row t of x */
/* Row t + tap of x, tap of any sign; all taps of one sequence are given in the body. The loop walks the places at which each of them, and tap 0, is a
 * row, so -1 and 2 shorten the sequence by three; backwards, tap 1 is still the row behind, which came the step before. */
CG_API cg_node *cg_scan_seq_at(cg_scan *s, cg_node *x, int64_t tap);
CG_API cg_node *cg_scan_state(cg_scan *s, cg_node *init);               /* its value before the step, init at first */
/* A state as it was several steps ago: with CG_AXES(-1, -3), CG_OUT(&last, &third) the values of the step before and of the third before. init has
 * a row for each step that the taps reach back, the oldest first. cg_scan_next is told one of the nodes. */
CG_API int cg_scan_state_taps(cg_scan *s, cg_node *init, const int64_t *taps, int ntaps, cg_node **const *out, int nout);
/* A state that is a shared variable: it begins as the variable's value (as the loops before left it) and what it is at the end becomes the default
 * update of the variable. In a loop within a loop it is such a state of both. Asked for again, it is the same node. */
CG_API cg_node *cg_scan_shared(cg_scan *s, cg_node *var);
CG_API cg_node *cg_scan_index(cg_scan *s);                              /* t = 0, 1, ..., an i64 scalar */
CG_API int cg_scan_next(cg_scan *s, cg_node *state, cg_node *value);    /* once a state; of the same dtype and shape */
CG_API int cg_scan_out(cg_scan *s, cg_node *value, cg_scan_keep keep);
/* The loop ends after the first step where cond, a bool scalar of the step, is true; what that step gives is kept. The number of steps is then
 * the most there may be, which memory is allocated for, and stacked outputs have as many rows as steps were done: cg_dim(out, 0) is that number,
 * an i64 scalar that may be an output or a size of what is built on it. On a device that runs calls later each step waits once. Once a loop, and
 * not in one with checkpoints (.every). */
CG_API int cg_scan_until(cg_scan *s, cg_node *cond);
/* Ends the loop and frees s; out in the order of cg_scan_out. */
CG_API int cg_scan_end(cg_scan *s, cg_node **const *out, int n);

/* Loops that are one function of a row of x, which is called once, to build the body. A sequence of several is walked by begin and end.
 * cg_scan_map: f of each row, stacked. cg_scan_foldl: the state after the last row (a reduction), init where there are no rows; foldr comes from the
 * last row to the first. */
typedef cg_node *cg_row_fn(void *user, cg_node *row);
typedef cg_node *cg_fold_fn(void *user, cg_node *state, cg_node *row);
CG_API cg_node *cg_scan_map(cg_node *x, cg_row_fn *f, void *user);
CG_API cg_node *cg_scan_foldl(cg_node *x, cg_node *init, cg_fold_fn *f, void *user);
CG_API cg_node *cg_scan_foldr(cg_node *x, cg_node *init, cg_fold_fn *f, void *user);

/* ---- Choices ------------------------------------------------------------------------------------------------ */

/* *out[i] is then[i] where cond holds, else otherwise[i]: of one dtype and shape (a bare number takes the other's dtype). cond is a scalar of any
 * dtype, true if it is not 0. Unlike cg_where it is lazy: what only then[] or only otherwise[] needs is computed only in a call that takes that
 * branch, and cannot fail in others; so is the gradient. What both need, what anything else needs, and what is needed by branches of
 * different conditions, is always computed. A condition that the host knows (an integer that is fed, sizes, a constant, comparisons of
 * such, also with the step of a loop) costs nothing; any other costs one wait a call, in a loop one a step.
 *     cg_ifelse(cg_less(i, cg_weak(g, 10)), CG_NODES(cg_exp(x)), CG_NODES(cg_matmul(x, W)), CG_OUT(&y)); */
CG_API int cg_ifelse(cg_node *cond, cg_node *const *then, int nthen, cg_node *const *otherwise, int notherwise, cg_node **const *out, int nout);

/* ---- Derivatives ------------------------------------------------------------------------------------------ */

/* dcost/dwrt[i] into *out[i], each with the type of wrt[i]; cost is a float scalar, wrt of floats.
 * Where the cost varies with a variable only in steps (by floor, a comparison, an integer) its gradient is zeros. A variable that does not
 * reach the cost (disconnected; sizes and positions are no path) is an error that names both. So is one that reaches it through an operation
 * that has no derivative (undefined), which tells the operation and the reason; a path that nobody asked for does no harm. */
CG_API int cg_grad(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout);

typedef struct cg_known_grad { cg_node *node, *grad; } cg_known_grad;
typedef enum { CG_DISCONNECTED_ERROR, CG_DISCONNECTED_ZEROS, CG_DISCONNECTED_NULL } cg_disconnected;
typedef struct cg_grad_spec {
    size_t struct_size;
    const cg_known_grad *known; int nknown;       /* the gradient of node is grad, whatever uses it; the cost may then be NULL */
    cg_node *const *constant; int nconstant;      /* not crossed: what they are made of gets nothing through them */
    cg_disconnected disconnected;                 /* what stands for the gradient of a variable that does not reach the cost */
} cg_grad_spec;
#define CG_GRAD(...)      (&(cg_grad_spec){ .struct_size = sizeof(cg_grad_spec), __VA_ARGS__ })
#define CG_KNOWN(...)     .known = (const cg_known_grad[]){ { 0, 0 }, __VA_ARGS__ } + 1, \
                          .nknown = (int)(sizeof((const cg_known_grad[]){ { 0, 0 }, __VA_ARGS__ }) / sizeof(cg_known_grad)) - 1
#define CG_CONSTANTS(...) .constant = (cg_node *const[]){ 0, __VA_ARGS__ } + 1, .nconstant = CG_COUNT_(cg_node *const, __VA_ARGS__)
/* The same with options (NULL: none): cg_grad_with(NULL, CG_NODES(W), CG_OUT(&dW), CG_GRAD(CG_KNOWN({ h, dh }))) continues from h. */
CG_API int cg_grad_with(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout, const cg_grad_spec *o);

/* Products with the matrix of derivatives J, J[i][j] = df[i]/dwrt[j], without J. points[j] has the shape of the node that it stands beside,
 * and NULL is zeros; it is not derived itself. Options as those of cg_grad_with but for .known; o NULL: none.
 *     cg_rop(CG_NODES(y), CG_NODES(W, b), CG_NODES(v, NULL), CG_OUT(&dy), NULL);          // dy = dy/dW v
 * cg_lop: u' J, *out[j] = sum over i of points[i]' df[i]/dwrt[j], of the type of wrt[j]. A point adds to what reaches its expression through
 *     another one of f; a known gradient of cg_grad_with replaces that.
 * cg_rop: J v, *out[i] = sum over j of df[i]/dwrt[j] points[j], of the type of f[i] (Pearlmutter, Fast exact multiplication by the Hessian, 1994),
 *     as the derivative by u, along v, of u' J, which is linear in u (Townsend, A new trick for calculating Jacobian vector products, 2017). So it
 *     is the adjoint of cg_lop, <u, J v> = <J' u, v>, through every operation and loop; only grad_clip, which bounds gradients, is here the identity
 *     where its bounds hold 0. An expression that no variable reaches is what is disconnected. */
CG_API int cg_lop(cg_node *const *f, int nf, cg_node *const *wrt, int n, cg_node *const *points, int npoints, cg_node **const *out, int nout, const cg_grad_spec *o);
CG_API int cg_rop(cg_node *const *f, int nf, cg_node *const *wrt, int n, cg_node *const *points, int npoints, cg_node **const *out, int nout, const cg_grad_spec *o);
/* *out[j] = df/dwrt[j], of f's shape and then wrt[j]'s: f may have any rank, up to CG_MAX_RANK together. A loop makes it row by row, a backward
 * step an element of f; for a product with it cg_lop and cg_rop are far cheaper. */
CG_API int cg_jacobian(cg_node *f, cg_node *const *wrt, int n, cg_node **const *out, int nout, const cg_grad_spec *o);
/* *out[j] = d^2 cost / dwrt[j]^2, of wrt[j]'s shape twice: the Jacobian of the gradient, which gives the mixed blocks, too. Zeros where the cost is
 * linear. */
CG_API int cg_hessian(cg_node *cost, cg_node *const *wrt, int n, cg_node **const *out, int nout, const cg_grad_spec *o);
/* *out[i] = sum over j of d^2 cost / (dwrt[i] dwrt[j]) points[j], of the type of wrt[i]: a gradient's cost, whatever the sizes. */
CG_API int cg_hessian_vector(cg_node *cost, cg_node *const *wrt, int n, cg_node *const *points, int npoints, cg_node **const *out, int nout, const cg_grad_spec *o);

/* ---- Operations of your own ---------------------------------------------------------------------------------- */

/* A graph as one operation, with a name and, if it is told, a gradient by hand:
 *     static int log1pexp_grad(const cg_own_call *c, cg_node **in_grad) { in_grad[0] = cg_mul(c->grad[0], cg_sigmoid(c->in[0])); return 0; }
 *     cg_own_op *log1pexp = cg_op_from_graph(CG_NODES(x), CG_NODES(cg_log(cg_add(cg_exp(x), cg_weak(g, 1)))), CG_OWN(.name = "log1pexp", .grad = log1pexp_grad));
 *     cg_apply(log1pexp, CG_NODES(h), CG_OUT(&y));
 * cg_print writes (log1pexp h), and cg_read of the same graph takes it; messages call it so. A function that is compiled sees what it is made of,
 * so rewriting and fusion go through it. The gradient by hand is what cg_grad uses, also for gradients of gradients. */
typedef struct cg_own_op cg_own_op;                           /* its graph's */
typedef struct cg_own_call { cg_node *const *in; int nin; cg_node *const *out, *const *grad; int nout; void *user; } cg_own_call;     /* grad: of each output */
typedef struct cg_own_spec {
    size_t struct_size;
    const char *name;                                         /* of an operation that the graph does not have yet */
    /* NULL: as its graph gives it. Sets in_grad[k], of the type of in[k]; where it stays NULL, it is as the graph gives it. A negative status: failed. */
    int (*grad)(const cg_own_call *c, cg_node **in_grad);
    void *user;
} cg_own_spec;
#define CG_OWN(...) (&(cg_own_spec){ .struct_size = sizeof(cg_own_spec), __VA_ARGS__ })
/* The outputs as a function of the inputs, which are any different nodes that are no constants; what else the outputs use is part of the
 * operation. With .grad no other float variable may be. */
CG_API cg_own_op *cg_op_from_graph(cg_node *const *inputs, int ninputs, cg_node *const *outputs, int noutputs, const cg_own_spec *o);
/* Outputs for args in the place of the inputs: of their dtypes and shapes (sizes that were CG_ANY may be others). */
CG_API int cg_apply(const cg_own_op *op, cg_node *const *args, int nargs, cg_node **const *out, int nout);

/* ---- Functions --------------------------------------------------------------------------------------------- */

typedef struct cg_update { cg_node *var, *value; } cg_update;
typedef struct cg_given { cg_node *node, *by; } cg_given;
typedef enum { CG_UNUSED_ERROR, CG_UNUSED_IGNORE } cg_unused;
typedef struct cg_spec {
    size_t struct_size;
    const char *name;
    cg_node *const *inputs;  int ninputs;
    cg_node *const *outputs; int noutputs;
    const cg_update *updates; int nupdates;       /* simultaneous */
    cg_device *device;                            /* NULL: CG_DEVICE decides */
    int strict;                                   /* inputs of another dtype fail rather than convert */
    int no_rewrites;                              /* the graph as it was written */
    const cg_given *givens; int ngivens;          /* wherever node stands, by stands instead: of the same dtype and shape */
    cg_unused unused;                             /* what to do about an input that nothing uses */
    int no_default_updates;                       /* only those listed here */
} cg_spec;
#define CG_SPEC(...)    (&(cg_spec){ .struct_size = sizeof(cg_spec), __VA_ARGS__ })
#define CG_INPUTS(...)  .inputs = (cg_node *const[]){ 0, __VA_ARGS__ } + 1, .ninputs = CG_COUNT_(cg_node *const, __VA_ARGS__)
#define CG_OUTPUTS(...) .outputs = (cg_node *const[]){ 0, __VA_ARGS__ } + 1, .noutputs = CG_COUNT_(cg_node *const, __VA_ARGS__)
#define CG_UPDATES(...) .updates = (const cg_update[]){ { 0, 0 }, __VA_ARGS__ } + 1, \
                        .nupdates = (int)(sizeof((const cg_update[]){ { 0, 0 }, __VA_ARGS__ }) / sizeof(cg_update)) - 1

#define CG_GIVENS(...)  .givens = (const cg_given[]){ { 0, 0 }, __VA_ARGS__ } + 1, \
                        .ngivens = (int)(sizeof((const cg_given[]){ { 0, 0 }, __VA_ARGS__ }) / sizeof(cg_given)) - 1

/* Every function that uses the shared variable var updates it to value, unless the function says otherwise. NULL takes it back. */
CG_API int cg_default_update(cg_node *var, cg_node *value);
/* A function of the inputs, of an optimised copy of what the outputs and updates reach: it may outlive the graph, but not the arrays of its
 * shared variables. NULL: all that went wrong while building, or what is wrong with the spec, is cg_last_error(). */
CG_API cg_function *cg_compile(cg_graph *g, const cg_spec *spec);
CG_API void cg_function_free(cg_function *f);
/* Runs f. out receives one new array an output (NULL: outputs are dropped); the caller frees them. On failure
 * shared variables keep their values and out is untouched (where a driver refuses a launch after updates in place have begun, those
 * are poisoned, as below).
 * On OpenCL the call returns when all is enqueued. What goes wrong after that (an index out of range, an integer divided
 * by zero, a command that fails) is told by the next call but one on the device, which is then not run, by cg_array_data of a value that is
 * affected, or by cg_device_wait, whichever comes first. Shared variables and outputs written by the failed call or
 * by calls after it are then poisoned: using them is an error that says so, until cg_array_set or another call gives
 * a shared variable a new value. On the cpu all failures are told by the call itself. */
CG_API int cg_call(cg_function *f, cg_array *const *inputs, int n, cg_array **out);
/* The same with inputs by the names that cg_input gave them, in any order. */
CG_API int cg_call_named(cg_function *f, const char *const *names, cg_array *const *inputs, int n, cg_array **out);
typedef enum { CG_STAGE_GRAPH, CG_STAGE_OPTIMIZED, CG_STAGE_PLAN, CG_STAGE_KERNELS } cg_stage;
CG_API char *cg_function_show(cg_function *f, cg_stage stage);     /* the caller frees */
CG_API char *cg_function_dot(cg_function *f, cg_stage stage);      /* the graph or optimized graph as cg_print_dot draws it */
/* Plans memory for inputs of these sizes without a call: a size for each CG_ANY of the inputs, in their order and that of their axes.
 * cg_function_show then tells the peak with what takes it, cg_function_stats the number. An input that is an integer of rank 0 counts as 0. */
CG_API int cg_function_plan(cg_function *f, const int64_t *sizes, int n);
/* plans: one for each pattern of CG_ANY sizes that were 1 at a call; plan_us and peak_bytes: of the last call or cg_function_plan.
 * peak_bytes: what the call holds on the device, arrays that it reads and gives included. */
typedef struct cg_stats { int64_t calls, plans, kernels_built, launches; double plan_us; int64_t peak_bytes; } cg_stats;
CG_API void cg_function_stats(cg_function *f, cg_stats *out);

/* ---- Nets: sugar over the above ------------------------------------------------------------------------------ */

/* How a parameter begins. Zeros is 0. Glorot: variance 2 / (in + out), He: 2 / in, LeCun: 1 / in; in and out are the sizes of a (in, out)
 * matrix, of (out, in, window...) those times the window. Orthogonal: the rows, or the columns if they are fewer, are orthonormal. */
typedef enum {
    CG_INIT_ZEROS, CG_INIT_ONES, CG_INIT_GLOROT_UNIFORM, CG_INIT_GLOROT_NORMAL, CG_INIT_HE_UNIFORM, CG_INIT_HE_NORMAL,
    CG_INIT_LECUN_UNIFORM, CG_INIT_LECUN_NORMAL, CG_INIT_ORTHOGONAL
} cg_init;
CG_API cg_array *cg_array_init(const int64_t *shape, int rank, cg_init how, uint64_t seed);     /* a new f32 array */

/* The variables of a model, and how a step changes them. A net owns its arrays: functions that use them are freed before it. */
typedef struct cg_net cg_net;
CG_API cg_net *cg_net_new(cg_graph *g, uint64_t seed);        /* the seed is of the initial values; g must outlive the net */
CG_API void cg_net_free(cg_net *n);
CG_API cg_node *cg_net_param(cg_net *n, const char *name, const int64_t *shape, int rank, cg_init how);     /* f32, trained */
CG_API cg_node *cg_net_state(cg_net *n, const char *name, cg_dtype d, const int64_t *shape, int rank, double value);   /* not trained; filled with value */
CG_API int cg_net_count(const cg_net *n);                     /* variables, in the order in which they were made */
CG_API const char *cg_net_name(const cg_net *n, int i);
CG_API cg_array *cg_net_array(const cg_net *n, int i);        /* its value; the net's */
CG_API cg_array *cg_net_find(const cg_net *n, const char *name);     /* or NULL */
CG_API int64_t cg_net_size(const cg_net *n);                  /* trained numbers */

/* Recurrent cells by ONNX's formulas, over x (steps, batch, in), in any float dtype. W is (directions, gates hidden, in) and R (directions,
 * gates hidden, hidden), the gates in ONNX's order: RNN one, GRU z r h, LSTM i o f c. The number of steps and the batch may be CG_ANY.
 * y (steps, directions, batch, hidden) is h after each step, h (directions, batch, hidden) after the last one of each sequence, so is c.
 * Who does not want one of them gives NULL. */
typedef enum { CG_RNN, CG_GRU, CG_LSTM } cg_cell;
typedef enum { CG_FORWARD, CG_REVERSE, CG_BIDIRECTIONAL } cg_direction;      /* of both, the forward one is the first */
typedef enum {                            /* alpha and beta are taken as they stand */
    CG_ACT_DEFAULT,                       /* the cell's: tanh; sigmoid for gates */
    CG_ACT_TANH, CG_ACT_SIGMOID, CG_ACT_RELU, CG_ACT_SOFTSIGN, CG_ACT_SOFTPLUS,
    CG_ACT_AFFINE,                        /* alpha x + beta */
    CG_ACT_LEAKY_RELU,                    /* alpha x where x < 0 */
    CG_ACT_ELU,                           /* alpha (e^x - 1) where x < 0 */
    CG_ACT_THRESHOLDED_RELU,              /* x where x > alpha, else 0 */
    CG_ACT_SCALED_TANH,                   /* alpha tanh(beta x) */
    CG_ACT_HARD_SIGMOID                   /* alpha x + beta within 0..1 */
} cg_act;
typedef struct cg_activation { cg_act kind; double alpha, beta; cg_node *(*function)(cg_node *x); } cg_activation;      /* a function goes before the kind */
typedef struct cg_recurrent {
    size_t struct_size;
    cg_direction direction;
    cg_node *b;                           /* (directions, 2 gates hidden): the bias of W, then that of R */
    cg_node *lengths;                     /* (batch) integers: the steps of each sequence. Behind them y is 0, and x is not looked at */
    cg_node *h0, *c0;                     /* (directions, batch, hidden); NULL: zeros */
    cg_node *peepholes;                   /* LSTM: (directions, 3 hidden), of i o f */
    double clip;                          /* what activations are given stays within -clip..clip; 0: no limit */
    int linear_before_reset;              /* GRU: the reset gate scales h R + b instead of h */
    int input_forget;                     /* LSTM: f = 1 - i */
    int batch_first;                      /* ONNX's layout 1: x (batch, steps, in), y (batch, steps, directions, hidden), states (batch, directions, hidden) */
    const cg_activation *activations; int nactivations;       /* RNN f; GRU f g; LSTM f g h; for both directions, or for each */
} cg_recurrent;
#define CG_RECURRENT(...)   (&(cg_recurrent){ .struct_size = sizeof(cg_recurrent), __VA_ARGS__ })
#define CG_ACTIVATIONS(...) .activations = (const cg_activation[]){ { 0 }, __VA_ARGS__ } + 1, \
                            .nactivations = (int)(sizeof((const cg_activation[]){ { 0 }, __VA_ARGS__ }) / sizeof(cg_activation)) - 1
CG_API int cg_rnn(cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, cg_node **y, cg_node **h);
CG_API int cg_gru(cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, cg_node **y, cg_node **h);
CG_API int cg_lstm(cg_node *x, cg_node *W, cg_node *R, const cg_recurrent *o, cg_node **y, cg_node **h, cg_node **c);

/* A layer is its parameters and a forward function; own kinds fill the struct themselves. */
typedef struct cg_layer {
    cg_node *(*forward)(const struct cg_layer *l, cg_node *x);
    cg_node *w, *b;                                           /* dense: (in, out) and (out) */
    cg_node *(*function)(cg_node *x);                         /* activation */
    cg_random random; double rate;                            /* dropout */
    cg_node *r; cg_cell cell; cg_recurrent recurrent;         /* recurrent, with w and b */
    int last;                                                 /* recurrent: gives h after the last step alone */
    int testing;                                              /* set by cg_forward_test: dropout and batch norm as they are when training is over */
    cg_net *net; cg_batch_norm norm;                          /* normalisation, with w and b; of a layer its epsilon alone */
    cg_node *out_w, *out_b; int64_t heads; cg_attention_spec attention;      /* attention, with w and b */
    int64_t padding_idx;                                      /* embedding, with w */
} cg_layer;
CG_API int cg_layer_dense(cg_layer *l, cg_net *n, const char *name, int64_t in, int64_t out, cg_init how);   /* x W + b; named name.w, name.b */
CG_API int cg_layer_function(cg_layer *l, cg_node *(*function)(cg_node *x));      /* cg_relu, cg_tanh, ... */
CG_API int cg_layer_dropout(cg_layer *l, const cg_random *r, double p);           /* as cg_dropout; r is copied */
/* (steps, batch, in) -> (steps, batch, directions hidden), so layers stack; last, set afterwards: -> (batch, directions hidden). Its parameters
 * are name.w by how, name.r orthogonal and name.b zeros (an LSTM's f: 1); o, but for b, is copied: what it points to stays the caller's. */
CG_API int cg_layer_recurrent(cg_layer *l, cg_net *n, const char *name, cg_cell cell, int64_t in, int64_t hidden, cg_init how, const cg_recurrent *o);
/* (..., size) normalised along the last axis; parameters name.w ones and name.b zeros. */
CG_API int cg_layer_layer_norm(cg_layer *l, cg_net *n, const char *name, int64_t size);
/* (n, channels, ...), or by o, which is copied. Training normalises by the batch and adds the updates of the states name.mean and name.var (zeros and ones) to
 * cg_net_updates; testing normalises by these. */
CG_API int cg_layer_batch_norm(cg_layer *l, cg_net *n, const char *name, int64_t channels, const cg_batch_norm *o);
/* Integers of any shape -> the same shape and size: rows of name.w (rows, size). Row padding_idx (CG_NONE: none) is and stays zeros. */
CG_API int cg_layer_embedding(cg_layer *l, cg_net *n, const char *name, int64_t rows, int64_t size, int64_t padding_idx, cg_init how);
/* (batch, steps, size) -> the same: each step attends to all (Vaswani et al. 2017), by `heads` heads, which divide the size; o, which is copied, as that of
 * cg_attention, its mask stretching to (batch, heads, l, s). Parameters: name.w (size, 3 size) and name.b of queries, keys and values, name.out_w, name.out_b. */
CG_API int cg_layer_attention(cg_layer *l, cg_net *n, const char *name, int64_t size, int64_t heads, cg_init how, const cg_attention_spec *o);
CG_API cg_node *cg_attend(const cg_layer *l, cg_node *query, cg_node *key, cg_node *value);      /* such a layer from one sequence to another */
/* f32 (steps, size): sin(t / 10000^(i / size)) at even i, the cosine of the same angle behind it; steps is an i64 scalar. */
CG_API cg_node *cg_sinusoidal_positions(cg_node *steps, int64_t size);
CG_API cg_node *cg_forward(const cg_layer *layers, int n, cg_node *x);            /* one after the other, in training */
CG_API cg_node *cg_forward_test(const cg_layer *layers, int n, cg_node *x);       /* and when it is over */

/* Losses by PyTorch's definitions. x are scores or logits, right for any size of them, infinite ones too where the loss is defined. Operands have one
 * shape; classes are integers, one a sample: x is (n, c, ...), y (n, ...), and a class out of 0..c-1 fails the call. */
typedef enum {
    CG_REDUCTION_MEAN,            /* over elements or samples; with class weights or an ignored class the sum, by the sum of the weights of those that count */
    CG_REDUCTION_SUM, CG_REDUCTION_NONE
} cg_reduction;
typedef struct cg_loss {                  /* an option that a loss does not have is an error */
    size_t struct_size;
    cg_reduction reduction;
    cg_node *weight;              /* (c): of each class; where operands have one shape it is of each element, and stretches */
    cg_node *pos_weight;          /* binary: what a target of 1 weighs; stretches */
    int ignore; int64_t ignore_index;     /* CG_IGNORE(class): samples of this class, which may be any number, have no loss */
    double label_smoothing;       /* cross-entropy: this part of a target goes to all classes alike (Szegedy et al. 2016) */
    double delta;                 /* huber, smooth L1: where the square ends; 0: 1 */
    double margin;                /* hinge, multi margin, triplet: 0 is 1. Cosine: 0 */
    double p;                     /* hinge, multi margin: the power, 0: 1. Triplet: the norm, 0: 2 */
    int log_target;               /* KL: the targets are logarithms, too */
    int swap;                     /* triplet: the negative counts from the positive where that is nearer (Balntas et al. 2016) */
    int64_t blank;                /* CTC: the class that stands for no label */
    int zero_infinity;            /* CTC: the loss of labels that no path gives is 0 instead of infinite; its gradient is 0 anyway */
} cg_loss;
#define CG_LOSS(...)     (&(cg_loss){ .struct_size = sizeof(cg_loss), __VA_ARGS__ })
#define CG_IGNORE(class) .ignore = 1, .ignore_index = (class)
/* Of softmax(x) along axis 1 and classes, or probabilities (n, c, ...) in floats. o NULL: the mean, here and below. */
CG_API cg_node *cg_cross_entropy_loss(cg_node *x, cg_node *y, const cg_loss *o);
CG_API cg_node *cg_nll_loss(cg_node *log_p, cg_node *y, const cg_loss *o);                /* -log_p[y] */
CG_API cg_node *cg_multi_margin_loss(cg_node *x, cg_node *y, const cg_loss *o);           /* mean over c, other than y, of max(0, margin - x[y] + x[c])^p */
CG_API cg_node *cg_binary_cross_entropy_loss(cg_node *x, cg_node *t, const cg_loss *o);   /* of sigmoid(x) and targets from 0 to 1 */
CG_API cg_node *cg_squared_loss(cg_node *a, cg_node *b, const cg_loss *o);                /* (a - b)^2 */
CG_API cg_node *cg_absolute_loss(cg_node *a, cg_node *b, const cg_loss *o);               /* |a - b| */
CG_API cg_node *cg_huber_loss(cg_node *a, cg_node *b, const cg_loss *o);                  /* d^2 / 2 for d = |a - b| up to delta, then delta (d - delta / 2) */
CG_API cg_node *cg_smooth_l1_loss(cg_node *a, cg_node *b, const cg_loss *o);              /* huber / delta */
CG_API cg_node *cg_kl_div_loss(cg_node *log_q, cg_node *p, const cg_loss *o);             /* p (log p - log q) */
CG_API cg_node *cg_hinge_loss(cg_node *x, cg_node *t, const cg_loss *o);                  /* max(0, margin - t x)^p for t of 1 or -1 */
/* Of vectors (n, d), t (n): 1 - cos(a, b) where t is 1, max(0, cos(a, b) - margin) where it is -1. */
CG_API cg_node *cg_cosine_embedding_loss(cg_node *a, cg_node *b, cg_node *t, const cg_loss *o);
CG_API cg_node *cg_triplet_margin_loss(cg_node *anchor, cg_node *positive, cg_node *negative, const cg_loss *o);      /* max(0, |a - p| - |a - n| + margin) */
/* CTC (Graves et al. 2006): -log of the probability, by log_p (t, n, c) of t steps, of all paths that give the labels y (n, s). steps and count (n) are how
 * many steps and labels a sequence has, NULL: all; the labels behind may be anything. The mean is of losses by their numbers of labels. */
CG_API cg_node *cg_ctc_loss(cg_node *log_p, cg_node *y, cg_node *steps, cg_node *count, const cg_loss *o);

/* Metrics: f32, without gradients. The mean absolute and squared errors are losses above. */
CG_API cg_node *cg_accuracy(cg_node *x, cg_node *y);                              /* the part of samples whose class has the greatest score; x, y as of losses */
CG_API cg_node *cg_top_k_accuracy(cg_node *x, cg_node *y, int64_t k);             /* or one of the k greatest; of equal scores the first class goes before, NaN before all */
/* How often samples of class i (row) are taken for class j (column), i64 (n, n); integers of one shape, of which one out of 0..n-1 fails the call. */
CG_API cg_node *cg_confusion_matrix(cg_node *y, cg_node *predicted, int64_t n);
/* Of each class of such a matrix, 0 where it is 0 / 0: of those taken for it how many are; of those that are how many are taken for it; the harmonic mean. */
CG_API cg_node *cg_precision(cg_node *matrix);
CG_API cg_node *cg_recall(cg_node *matrix);
CG_API cg_node *cg_f1_score(cg_node *matrix);

/* Optimisers. g is the gradient of parameter w, r the rate, t = 1, 2, ... the step. A 0 among the options is their default. */
typedef enum {
    CG_SGD,                       /* w -= r g                                                       rate 0.01 */
    CG_MOMENTUM,                  /* v = momentum v + g; w -= r v                  (Polyak 1964)    rate 0.01, momentum 0.9 */
    CG_NESTEROV,                  /* v = momentum v + g; w -= r (g + momentum v)   (Nesterov 1983, in the form of Sutskever et al. 2013) */
    CG_ADAM,                      /* m = beta1 m + (1-beta1) g; v = beta2 v + (1-beta2) g^2; w -= r m' / (sqrt(v') + eps) with m' = m / (1 - beta1^t),
                                   * v' = v / (1 - beta2^t) (Kingma, Ba 2015, algorithm 1)          rate 0.001, betas 0.9 0.999, eps 1e-8 */
    CG_ADAMW,                     /* before that w -= r decay w (Loshchilov, Hutter 2019)           decay 0.01 */
    CG_RMSPROP,                   /* v = rho v + (1-rho) g^2; w -= r g / (sqrt(v) + eps) (Hinton 2012, lecture 6e)   rate 0.001, rho 0.9, eps 1e-8 */
    CG_ADAGRAD                    /* v += g^2; w -= r g / (sqrt(v) + eps) (Duchi et al. 2011)       rate 0.01, eps 1e-10 */
} cg_optimizer_kind;
typedef struct cg_optimizer {
    size_t struct_size;
    cg_optimizer_kind kind;
    double rate, momentum, beta1, beta2, rho, eps, decay;
    double l2;                    /* gradients, clipped, get l2 w added: the derivative of l2/2 times the sum of all w^2; 0: none */
    double clip_norm;             /* gradients are scaled down together where the root of the sum of their squares is above this (Pascanu et al. 2013); 0: never */
} cg_optimizer;
#define CG_OPTIMIZER(...) (&(cg_optimizer){ .struct_size = sizeof(cg_optimizer), __VA_ARGS__ })
CG_API const char *cg_optimizer_name(cg_optimizer_kind k);    /* "adam"; NULL: there is no such kind */
/* Differentiates loss by all parameters of n, each of which must reach it, and makes one step's updates, which cg_net_updates lists for cg_compile. The rate is a
 * shared scalar, named rate, that cg_net_set_rate changes between calls. Once a net. */
CG_API int cg_optimize(cg_net *n, cg_node *loss, const cg_optimizer *o);
CG_API const cg_update *cg_net_updates(const cg_net *n, int *count);    /* the net's */
CG_API int cg_net_set_rate(cg_net *n, double rate);
/* After cg_optimize: a state name.average for each parameter, a = decay a + (1 - decay) w with its new w, which begins as w is now. What computes with the
 * averages gets the list of these as its givens. */
CG_API int cg_net_average(cg_net *n, double decay);
CG_API const cg_given *cg_net_averages(const cg_net *n, int *count);    /* the net's */

/* The numbers below n in an order of their own for each seed and epoch. */
CG_API void cg_permutation(int64_t *rows, int64_t n, uint64_t seed, int64_t epoch);
/* Rows of a in the given order, copied: parts of a permutation split a data set into training, validation and test. */
CG_API cg_array *cg_array_rows(cg_array *a, const int64_t *rows, int64_t n);

/* Batches of rows of arrays that stay in host memory: a thread gathers the next batch while the last one is used. The arrays have equally many
 * rows, are the caller's, and must not change while the loader is there. */
typedef struct cg_loader cg_loader;
CG_API cg_loader *cg_loader_new(cg_array *const *arrays, int n, int64_t batch);
CG_API void cg_loader_free(cg_loader *l);
/* What comes next: the rows in the order of cg_permutation for this seed and epoch (from 1; 0: as they stand), behind the first `done` batches. */
CG_API int cg_loader_begin(cg_loader *l, uint64_t seed, int64_t epoch, int64_t done);
/* *batch: an array for each of the n, the loader's, good until it is asked again; the last one may have fewer rows. Returns n, 0 behind the last batch, or
 * a negative status. */
CG_API int cg_loader_next(cg_loader *l, cg_array *const **batch);

/* The rate of a step: `rate` times all of these. Zeros leave a part out. */
typedef struct cg_schedule {
    size_t struct_size;
    double rate;
    int64_t warmup;                       /* rises in a line: step / warmup in the first `warmup` steps, whose end is the beginning of what follows */
    int64_t every; double factor;         /* times factor (0: 0.1) after each `every` steps */
    int64_t cosine; double floor;         /* falls along half a cosine, in so many steps, to floor, and stays there (Loshchilov, Hutter 2017) */
    int64_t plateau; double cut;          /* times cut (0: 0.1) whenever `plateau` epochs have passed without a better value than ever */
} cg_schedule;
#define CG_SCHEDULE(...) (&(cg_schedule){ .struct_size = sizeof(cg_schedule), __VA_ARGS__ })
CG_API double cg_schedule_rate(const cg_schedule *s, int64_t step, int64_t cuts);     /* of a step from 1 behind so many cuts */

/* Training. step is a function that gives the loss. Where the data are shared variables it takes one i64 scalar i, for the rows
 * order[i * batch : (i + 1) * batch] (the last batch of an epoch may be smaller); order is its shared variable, shuffled before each epoch. Where a
 * loader brings them, it takes what the loader gives. Both ways see the same rows. */
typedef struct cg_progress { int64_t epoch, step, steps; double loss, mean, value; } cg_progress;    /* from 1; steps an epoch; mean loss of the epoch; what judge gave */
/* How far a run has come. Zeros: it begins. Steps and epochs that are done, epochs since the best value, cuts of the rate, the sum of this epoch's losses. */
typedef struct cg_fit_state { int64_t steps, epochs, since, cuts; double sum, best; } cg_fit_state;
typedef struct cg_fit_spec {
    size_t struct_size;
    cg_function *step;
    cg_array *order;
    int64_t batch;
    cg_loader *loader;                                        /* instead of order and batch */
    int64_t epochs;
    uint64_t seed;
    cg_fit_state *state;                                      /* NULL, or where the run goes on, kept up to date */
    cg_net *net;                                              /* what the schedule and files need */
    cg_schedule *schedule;                                    /* NULL: the rate is left alone */
    int64_t patience;                                         /* ends the run after so many epochs without a better value; 0: never */
    int (*on_step)(void *user, const cg_progress *p);         /* NULL, or called after each step; a value other than 0 ends the training */
    int (*judge)(void *user, const cg_progress *p, double *value);     /* likewise after each epoch: what it is judged by, less is better. NULL: the mean loss */
    int (*on_epoch)(void *user, const cg_progress *p);        /* behind that */
    void *user;
} cg_fit_spec;
#define CG_FIT(...) (&(cg_fit_spec){ .struct_size = sizeof(cg_fit_spec), __VA_ARGS__ })
CG_API int cg_fit(const cg_fit_spec *o);                      /* 0, a negative status, or what a callback gave */
/* A run as a file: all variables of the net, the state, the schedule, and what the order of the rows depends on, so that a run that loads it ends with the
 * bits of one that never stopped. May be saved in any callback; the file is replaced as a whole. Loading wants the file of a run of the same net, batch, seed
 * and number of rows, and sets state and schedule, too. */
CG_API int cg_fit_save(const cg_fit_spec *o, const char *path);
CG_API int cg_fit_load(const cg_fit_spec *o, const char *path);

/* ---- Devices ------------------------------------------------------------------------------------------------ */

/* spec as CG_DEVICE; NULL: CG_DEVICE itself. One device per name and process; the library owns it. */
CG_API cg_device *cg_device_open(const char *spec);
/* Waits for all calls on d; an error if one failed and nobody was told. For timing, and to look without reading: reading
 * an array waits by itself. */
CG_API int cg_device_wait(cg_device *d);
/* How many bytes the device's buffers may take together; 0: as many as there are. It begins as CG_MEM_LIMIT, a number of bytes or of K, M, G, T.
 * Buffers that nobody uses are kept for reuse, and given back first. What does not fit is CG_ENOMEM: the sentence says what was wanted, what is
 * held, and the largest buffers by name; nothing has changed, so the same call works once there is room. Counted are arrays,
 * constants and arenas; not what a driver, a BLAS or an interpreted loop takes for itself. */
CG_API int cg_device_limit(cg_device *d, size_t bytes);
/* Bytes in use, kept for reuse, in use at most so far, and the limit. */
typedef struct cg_memory { size_t held, idle, most, limit; } cg_memory;
CG_API void cg_device_memory(cg_device *d, cg_memory *out);
CG_API const char *cg_device_name(const cg_device *d);        /* "cpu", "opencl:0:0" */
CG_API char *cg_device_info(int json);                        /* what there is, and what CG_DEVICE selects; the caller frees */
CG_API void cg_shutdown(void);                                /* closes the devices; only when no array or function is left */
CG_API void cg_text_free(char *text);                         /* what "the caller frees" */

/* ---- Data and files ------------------------------------------------------------------------------------------ */

/* Sizes that a file claims are compared with its bytes before memory is taken. Writers fill a temporary file beside
 * the path, sync and rename it: the old file or the new one is there, never a mixture. */
CG_API cg_array *cg_idx_load(const char *path);               /* IDX, plain or .gz */
/* The folder of the data sets that come with libcg: digits (8 x 8 pixels of 0 to 16) and mnist5k, in files named as MNIST's. */
CG_API const char *cg_data_dir(void);
/* NPY 1.0 to 3.0, plain or .gz, either byte order, rows or columns first; objects and records are refused.
 * bf16 is stored as NumPy stores it, as two opaque bytes ('<V2'). */
CG_API cg_array *cg_npy_load(const char *path);
CG_API int cg_npy_save(const char *path, cg_array *a);
/* Strict safetensors: wide dtypes first, then by name, data at a multiple of 64. */
CG_API int cg_safetensors_save(const char *path, const char *const *names, cg_array *const *arrays, int n);
/* Sets the arrays to the values that stand in the file under their names. The file has these arrays, with these dtypes and shapes, and no
 * others: if not, no array is changed. */
CG_API int cg_safetensors_load(const char *path, const char *const *names, cg_array *const *arrays, int n);
CG_API int cg_text_save(const char *path, const char *text);  /* the text without its 0, as writers do */

#ifdef __cplusplus
}
#endif
#endif
