// SPDX-License-Identifier: MIT
/* The ground floor: memory, containers, text, errors, the dtype table. Knows no graph and no plan.
 *
 * Invariant: every byte that libcg allocates on the host goes through cg__realloc, which tests can make fail at
 * the n-th call. Containers are sticky: after a failed allocation they stay valid and say so (`failed`).
 */
#ifndef CG_BASE_H
#define CG_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include "core/cg.h"

#define CG_LEN(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define CG_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- memory: NULL on failure, never aborts */
void *cg__realloc(void *p, size_t bytes);        /* p NULL allocates, bytes 0 frees */
void *cg__zalloc(size_t bytes);
void  cg__free(void *p);
void *cg__aligned(size_t bytes);                 /* 64-byte aligned, at least 64 bytes; free with cg__aligned_free */
void  cg__aligned_free(void *p);
char *cg__strdup(const char *s);
/* Tests only: the n-th allocation from now fails (0: none); sticky: and all after it. */
void cg__alloc_fail_at(long n, bool sticky);
long cg__alloc_calls(void);                      /* since then */
long cg__alloc_live(void);                       /* blocks that are not freed */

bool cg__mul_size(size_t a, size_t b, size_t *out);      /* false on overflow */
bool cg__add_size(size_t a, size_t b, size_t *out);

/* ---- arena: memory freed whole */
typedef struct cg_arena { struct cg_chunk *head; } cg_arena;
void *cg__arena(cg_arena *a, size_t bytes);      /* zeroed, 16-byte aligned; NULL on failure */
char *cg__arena_str(cg_arena *a, const char *s);
void *cg__arena_copy(cg_arena *a, const void *p, size_t bytes);
void  cg__arena_free(cg_arena *a);

/* ---- vectors: CG_VEC(int) v = {0}; CG_PUSH(&v, 3) is false when memory is out; CG_VEC_FREE(&v) */
#define CG_VEC(T) struct { T *at; int n, cap; }
bool cg__vec_room(void **at, int n, int *cap, size_t item);
#define CG_PUSH(v, ...) (cg__vec_room((void **)&(v)->at, (v)->n, &(v)->cap, sizeof *(v)->at) \
                             ? ((v)->at[(v)->n++] = (__VA_ARGS__), true) : false)
#define CG_VEC_FREE(v) (cg__free((v)->at), (v)->at = NULL, (v)->n = (v)->cap = 0)

/* ---- hash map from 64-bit keys to 64-bit values; a key may be put more than once (a multimap for hash-consing) */
typedef struct cg_map { struct cg_map_item { uint64_t key, not_value; } *at; size_t n, cap; } cg_map;       /* any value but UINT64_MAX */
bool cg__map_room(cg_map *m, size_t n);                              /* so that n more need no growing; false: no memory */
bool cg__map_put(cg_map *m, uint64_t key, uint64_t value);           /* adds, never replaces; false: no memory */
bool cg__map_set(cg_map *m, uint64_t key, uint64_t value);           /* replaces the first of that key, or adds */
bool cg__map_get(const cg_map *m, uint64_t key, uint64_t *value);    /* the first of that key */
/* Walks all values of a key: for (size_t it = 0; cg__map_next(m, key, &it, &v);) */
bool cg__map_next(const cg_map *m, uint64_t key, size_t *it, uint64_t *value);
void cg__map_free(cg_map *m);
uint64_t cg__hash(const void *p, size_t bytes, uint64_t seed);       /* xxh3 */
static inline uint64_t cg__key(const void *p) { return (uint64_t)(uintptr_t)p; }

/* ---- text */
enum { CG_BYTES_TEXT = 32 };
typedef struct cg_strb { char *at; size_t n, cap; bool failed; } cg_strb;
void cg__strb(cg_strb *s, const char *fmt, ...) CG_PRINTF(2, 3);
void cg__strb_add(cg_strb *s, const char *text, size_t n);
void cg__strb_json(cg_strb *s, const char *text);        /* as a JSON string; what is not printable ASCII becomes '?' */
/* "2.0 MiB"; returns to. */
const char *cg__bytes_text(size_t bytes, char to[CG_BYTES_TEXT]);
char *cg__strb_take(cg_strb *s);                 /* the text, NULL if an append failed; s is empty after */
void cg__strb_free(cg_strb *s);

/* ---- symbol.c: "net.c:41" for an address that a call returns to */
void cg__symbol_text(const void *addr, cg_strb *out);
void cg__symbol_close(void);                     /* forgets the debug information that was read */

/* ---- errors and log */
int cg__fail(cg_error *err, cg_status code, const char *fmt, ...) CG_PRINTF(3, 4);   /* keeps the first; returns code */
static inline void cg__error_clear(cg_error *e) { e->code = CG_OK; e->text[0] = 0; }
void cg__error_copy(cg_error *to, const cg_error *from);         /* as much of it as there is text: most are none */
void cg__fail_more(cg_error *err, const char *fmt, ...) CG_PRINTF(2, 3);             /* goes on with the sentence; allocates nothing */
int cg__fail_v(cg_error *err, cg_status code, const char *fmt, va_list ap);
cg_error *cg__thread_error(void);                /* what cg_last_error shows; clear before a public call */
int cg__set_last(const cg_error *err);           /* copies into the thread's error; returns its code */
char *cg__text_result(cg_strb *s, const char *who);      /* what a public function gives: the text, or NULL and "who: no memory" as the last error */
void cg__log(const char *fmt, ...) CG_PRINTF(1, 2);

/* ---- dtypes: rows of dtype.def */
typedef enum { CG_KIND_BOOL, CG_KIND_INT, CG_KIND_UINT, CG_KIND_FLOAT } cg_kind;
typedef struct cg_dtype_row {
    const char *name, *c_name, *cl_name;         /* "f32", "float", "float" */
    size_t bytes;
    cg_kind kind;
    cg_dtype compute;                            /* arithmetic runs in this one */
    const char *npy, *safetensors;               /* "<f4", "F32" */
} cg_dtype_row;
extern const cg_dtype_row cg__dtypes[CG_DTYPE_COUNT + 1];       /* the last row: nodes with several outputs, so that asking about one is harmless */
static inline bool cg__is_float(cg_dtype d) { return cg__dtypes[d].kind == CG_KIND_FLOAT; }
static inline bool cg__is_int(cg_dtype d) { return cg__dtypes[d].kind == CG_KIND_INT || cg__dtypes[d].kind == CG_KIND_UINT; }
/* One element from and to memory; integers and bool through int64 when is_int, floats through double. A float as an integer is truncated,
 * beyond the range it is the nearest end, NaN is 0. */
double  cg__load_f64(const void *p, cg_dtype d);
int64_t cg__load_i64(const void *p, cg_dtype d);
void    cg__store_f64(void *p, cg_dtype d, double v);     /* rounds to nearest even */
void    cg__store_i64(void *p, cg_dtype d, int64_t v);    /* wraps; floats: rounds once */
void    cg__cast_element(void *to, cg_dtype d, const void *from, cg_dtype s);     /* as cg_cast does */
bool    cg__dtype_by_name(const char *name, size_t n, cg_dtype *out);

/* ---- the elementwise table, elemwise.def: one enumerator and one row an operation */
typedef enum {
#define ELEM(name, ...) CG_EL_##name,
#include "core/base/elemwise.def"
    CG_EL_COUNT
} cg_elem;
typedef enum { CG_CLS_ANY, CG_CLS_NUM, CG_CLS_FLT, CG_CLS_INT, CG_CLS_BIT } cg_cls;    /* which dtypes operands may have; FLT casts integers to f32 */
typedef enum { CG_RES_SAME, CG_RES_BOOL, CG_RES_BC } cg_res;     /* result: the operands' dtype, bool, or the promotion of b and c (where) */
/* The algebra column, explained in elemwise.def */
enum { A_COMM = 1, A_ASSOC = 2, A_IDEM = 4, A_INVO = 8, A_ODD = 16, A_EVEN = 32, A_MONO = 64, A_OR = 128, A_AND = 256, A_NOT = 512, A_QUOT = 1024, A_SELF = 2048 };
typedef struct cg_elem_row { const char *name; int arity; cg_cls cls; cg_res res; unsigned algebra; const char *expr; } cg_elem_row;
extern const cg_elem_row cg__elems[CG_EL_COUNT];

#endif
