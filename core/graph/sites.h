// SPDX-License-Identifier: MIT
/* Where the user built a node, and what he calls it: a side table, never identity.
 *
 * Each call of a public builder (CG_BUILDER is its first statement) adds its site to every node it makes or finds, up to four different ones a node; a name goes
 * to the latest. A site is the builder's return address (1.4 ns to take; a backtrace of three frames costs 500 ns, more
 * than the node itself), made readable only when a message is shown, or the text that cg_at gave. Nodes that the library
 * builds for another node (its gradient, its rewritten form, its copy in a function) inherit the sites of that node.
 *     gradient of layer1/h (mul f32[3], at net.c:41)
 */
#ifndef CG_SITES_H
#define CG_SITES_H

#include "core/base/base.h"

typedef struct cg_site {
    const void *addr;                /* the user's code after the call */
    const char *at;                  /* "net.c:41", instead of addr; or NULL */
    const char *scope, *name;        /* "layer1", "h"; or NULL */
    const char *op;                  /* of the node that the call built */
    const struct cg_site *of;        /* set: the node is a derivative of what was built there */
    const struct cg_site *next;      /* of the same node */
} cg_site;
/* A line in a loop builds a million nodes: equal lists of sites are one list, which never changes (a node that gets a site or a name gets
 * another list). Lists taken from another graph are remembered while that graph is the one they come from. */
typedef struct cg_sited { const cg_site *first; int latest; } cg_sited;     /* of one node; latest: a position, or -1: no room was left for it */
typedef struct cg_sites {
    CG_VEC(cg_sited) of;             /* by node id */
    cg_map shared;                   /* hash -> list */
    cg_map taken; uint64_t from;     /* list of the graph of that number -> the same in this one */
    uint64_t number;                 /* of this graph, among all of the process */
} cg_sites;
void cg__sites_begin(cg_sites *s);
void cg__sites_free(cg_sites *s);

bool cg__site_note(cg_graph *g, const cg_node *n);                  /* n was built, or found: false: no memory */
void cg__site_forget(const cg_node *n);                             /* n, the youngest, is not entered after all */
bool cg__site_copy(const cg_node *to, const cg_node *from);         /* to stands for from, perhaps in another graph */
void cg__site_here(const cg_graph *g, cg_strb *out);                /* "net.c:41" of the builder that runs; or nothing */
const char *cg__label(const cg_node *n);                            /* "h (tanh f32[3], at net.c:41)": for messages; text of n's graph */
const char *cg__label_in(cg_arena *a, const cg_node *n);            /* the same as text of a: where threads share the graph */
void cg__origin(const cg_node *n, cg_strb *out);                    /* the same without sites: costs no look at the debug information */

#endif
