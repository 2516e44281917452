// SPDX-License-Identifier: MIT
/* Creation sites, names and scopes: what messages call a node. See sites.h. */
#include "core/graph/own.h"

enum { MAX_SITES = 4 };

CG_API cg_graph *cg_builder_enter(cg_graph *g, const void *caller)
{
    if (!g || g->caller || g->inherit)
        return NULL;
    g->caller = caller;
    return g;
}

CG_API void cg_builder_leave(cg_graph *const *g)
{
    if (*g)
        (*g)->caller = NULL;
}

/* ---- the table */

void cg__sites_begin(cg_sites *s)
{
    static uint64_t numbers;
    s->number = __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED);
}

void cg__sites_free(cg_sites *s)
{
    CG_VEC_FREE(&s->of);
    cg__map_free(&s->shared);
    cg__map_free(&s->taken);
}

static cg_sited *sited(const cg_node *n)
{
    const cg_sites *s = &n->graph->sites;
    return n->id < s->of.n ? &s->of.at[n->id] : NULL;
}

static cg_sited *make_sited(const cg_node *n)
{
    cg_sites *s = &n->graph->sites;
    while (s->of.n <= n->id)
        if (!CG_PUSH(&s->of, (cg_sited){ .latest = -1 }))
            return NULL;
    return &s->of.at[n->id];
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_site(const cg_site *a, const cg_site *b)
{
    return a->addr == b->addr && same_text(a->at, b->at) && same_text(a->scope, b->scope) && !a->of == !b->of;
}

/* The one list of g that begins with s; where memory is too short to remember that, there may be two. */
static const cg_site *share(cg_graph *g, const cg_site *s)
{
    const uint64_t h = cg__hash(s, sizeof *s, 0);
    uint64_t v;
    for (size_t it = 0; cg__map_next(&g->sites.shared, h, &it, &v);)
        if (memcmp((const void *)(uintptr_t)v, s, sizeof *s) == 0)
            return (const cg_site *)(uintptr_t)v;
    const cg_site *kept = cg__arena_copy(&g->arena, s, sizeof *s);
    if (kept)
        (void)cg__map_put(&g->sites.shared, h, cg__key(kept));
    return kept;
}

static int unpack(const cg_sited *s, cg_site list[MAX_SITES])
{
    int n = 0;
    for (const cg_site *at = s ? s->first : NULL; at; at = at->next)
        list[n++] = *at;
    return n;
}

static bool pack(cg_graph *g, cg_sited *s, cg_site *list, int n)
{
    const cg_site *next = NULL;
    for (int k = n - 1; k >= 0; k--) {
        list[k].next = next;
        if (!(next = share(g, &list[k])))
            return false;
    }
    s->first = next;
    return true;
}

/* Makes site the latest of n: the one it has already, which may learn its name, or a new one while there is room. */
static bool add(const cg_node *n, const cg_site *site)
{
    cg_sited *s = make_sited(n);
    cg_site list[MAX_SITES];
    int count = unpack(s, list), k = 0;
    while (k < count && !same_site(&list[k], site))
        k++;
    if (!s)
        return false;
    const bool kept = k == MAX_SITES || (k < count && (list[k].name || !site->name));
    if (k == count && !kept)
        list[count++] = *site;
    else if (!kept)
        list[k].name = site->name;
    if (!kept && !pack(n->graph, s, list, count))
        return false;
    s->latest = k < MAX_SITES ? k : -1;
    return true;
}

static bool copy_text(cg_graph *g, const char **text)
{
    return !*text || (*text = cg__arena_str(&g->arena, *text)) != NULL;
}

/* A list of another graph, with what its sites are derivatives of, as one of g. Recursion is as deep as derivatives are taken of derivatives. */
static bool take(cg_graph *g, const cg_site **list)
{
    uint64_t v;
    if (!*list)
        return true;
    if (cg__map_get(&g->sites.taken, cg__key(*list), &v)) {
        *list = (const cg_site *)(uintptr_t)v;
        return true;
    }
    cg_site s = **list;
    const cg_site *kept = NULL;
    if (copy_text(g, &s.at) && copy_text(g, &s.scope) && copy_text(g, &s.name) && take(g, &s.of) && take(g, &s.next))
        kept = share(g, &s);
    if (kept)
        (void)cg__map_put(&g->sites.taken, cg__key(*list), cg__key(kept));
    *list = kept;
    return kept != NULL;
}

static bool take_from(cg_graph *g, const cg_graph *from, const cg_site **list)
{
    if (g == from)
        return true;
    if (g->sites.from != from->sites.number) {
        cg__map_free(&g->sites.taken);
        g->sites.from = from->sites.number;
    }
    return take(g, list);
}

bool cg__site_copy(const cg_node *to, const cg_node *from)
{
    const cg_sited *s = sited(from);
    const cg_site *list = to != from && s ? s->first : NULL;
    if (!list)
        return true;
    cg_sited *own = take_from(to->graph, from->graph, &list) ? make_sited(to) : NULL;
    if (!own)
        return false;
    if (!own->first) {
        own->first = list;
        own->latest = -1;
        for (const cg_site *at = list; at; at = at->next)
            own->latest++;
        return true;
    }
    bool ok = true;
    for (const cg_site *at = list; at && ok; at = at->next)
        ok = add(to, at);
    return ok;
}

static bool derive(const cg_node *n, const cg_node *from)
{
    const cg_sited *s = sited(from);
    if (!s || !s->first)
        return true;
    cg_site site = *s->first;
    site.of = s->first;
    site.name = NULL;
    site.op = n->op->name;
    return add(n, &site);
}

/* A part of what replaces a node: the place, not the name, which is for the whole. */
static bool inherit_place(const cg_node *n, const cg_node *from)
{
    const cg_sited *s = sited(from);
    if (!s || !s->first)
        return true;
    cg_site site = *s->first;
    site.name = NULL;
    return add(n, &site);
}

bool cg__site_note(cg_graph *g, const cg_node *n)
{
    const cg_sited *s = sited(n);
    if (g->inherit)
        return (s && s->first) || g->inherit->graph != g || (g->deriving ? derive : inherit_place)(n, g->inherit);
    if (!g->caller && !g->at)
        return true;
    return add(n, &(cg_site){ .addr = g->at ? NULL : g->caller, .at = g->at, .scope = g->scopes.n ? g->scopes.at[g->scopes.n - 1] : NULL,
                              .op = n->op->name });
}

void cg__site_forget(const cg_node *n)
{
    cg_sites *s = &n->graph->sites;
    s->of.n = s->of.n > n->id ? n->id : s->of.n;
}

/* ---- what the user says */

CG_API cg_node *cg_name(cg_node *n, const char *name)
{
    if (!n || !name || !*name)
        return n;
    cg_sited *s = make_sited(n);
    cg_site list[MAX_SITES];
    const char *text = s ? cg__arena_str(&n->graph->arena, name) : NULL;
    bool ok = text && (s->first || add(n, &(cg_site){ .op = n->op->name }));
    if (ok && s->latest >= 0) {
        const int count = unpack(s, list);
        list[s->latest].name = text;
        ok = pack(n->graph, s, list, count);
    }
    return ok ? n : cg__graph_fail(n->graph, CG_ENOMEM, "cg_name: no memory for '%s'", name);
}

/* The first of its sites that has a name: who builds the same expression again renames nothing. */
CG_API const char *cg_node_name(const cg_node *n)
{
    const cg_sited *s = n ? sited(n) : NULL;
    for (const cg_site *at = s ? s->first : NULL; at; at = at->next)
        if (at->name)
            return at->name;
    return "";
}

CG_API void cg_at(cg_graph *g, const char *file, int line)
{
    char text[400];
    if (!g)
        return;
    snprintf(text, sizeof text, "%s:%d", file ? file : "?", line);
    g->at = file ? cg__arena_str(&g->arena, text) : NULL;
    if (file && !g->at)
        cg__graph_fail(g, CG_ENOMEM, "cg_at: no memory");
}

CG_API void cg_scope_push(cg_graph *g, const char *name)
{
    if (!g)
        return;
    cg_strb path = { 0 };
    if (g->scopes.n)
        cg__strb(&path, "%s/", g->scopes.at[g->scopes.n - 1]);
    cg__strb(&path, "%s", name ? name : "?");
    char *text = cg__strb_take(&path);
    const char *kept = text ? cg__arena_str(&g->arena, text) : NULL;
    cg__free(text);
    if (!kept || !CG_PUSH(&g->scopes, kept))
        cg__graph_fail(g, CG_ENOMEM, "cg_scope_push: no memory");
}

CG_API void cg_scope_pop(cg_graph *g)
{
    if (g && g->scopes.n)
        g->scopes.n--;
    else if (g)
        cg__graph_fail(g, CG_EINVAL, "cg_scope_pop: no scope is open");
}

/* ---- as text */

static void site_text(const cg_site *s, cg_strb *out)
{
    if (s->at)
        cg__strb(out, "%s", s->at);
    else
        cg__symbol_text(s->addr, out);
}

void cg__site_here(const cg_graph *g, cg_strb *out)
{
    if (g->at || g->caller)
        site_text(&(cg_site){ .at = g->at, .addr = g->caller }, out);
}

/* "gradient of layer1/h": the path of what it is, or is a derivative of. */
static void path_text(const cg_site *s, const char *name, cg_strb *out)
{
    for (; s && s->of; s = s->of, name = s->name ? s->name : s->op)
        cg__strb(out, "gradient of ");
    if (s && s->scope)
        cg__strb(out, "%s/", s->scope);
    cg__strb(out, "%s", name);
}

/* The first site with a name speaks for the node, else the first. */
static const cg_site *speaker(const cg_node *n)
{
    const cg_sited *s = sited(n);
    const cg_site *first = s ? s->first : NULL, *at = first;
    while (at && !at->name)
        at = at->next;
    return at ? at : first;
}

static bool has_place(const cg_site *s)
{
    return s->at || s->addr;
}

/* "at net.c:41, also built at net.c:50 as k" after the given mark; returns whether there was anything to say. */
static bool places(const cg_node *n, const char *mark, cg_strb *out)
{
    const cg_sited *s = sited(n);
    bool any = false;
    for (const cg_site *at = s ? s->first : NULL; at; at = at->next) {
        if (!has_place(at))
            continue;
        cg__strb(out, "%s%s ", any ? ", " : mark, any ? "also built at" : "at");
        site_text(at, out);
        if (at->name && strcmp(at->name, cg_node_name(n)) != 0)
            cg__strb(out, " as %s", at->name);
        any = true;
    }
    return any;
}

/* "h (tanh f32[3], at net.c:41)", or "tanh f32[3] (at net.c:41)" where nothing names it. */
static void describe(const cg_node *n, bool with_places, cg_strb *out)
{
    const cg_site *s = speaker(n);
    const bool titled = s && (s->name || s->of || s->scope);
    if (titled) {
        path_text(s, s->name ? s->name : cg__op_name(n), out);
        cg__strb(out, " (");
    }
    cg__strb(out, "%s ", cg__op_name(n));
    cg__type_text(&n->type, out);
    const bool placed = with_places && places(n, titled ? ", " : " (", out);
    cg__strb(out, "%s", titled || placed ? ")" : "");
}

void cg__origin(const cg_node *n, cg_strb *out)
{
    describe(n, false, out);
}

const char *cg__label_in(cg_arena *a, const cg_node *n)
{
    cg_strb s = { 0 };
    describe(n, true, &s);
    char *text = cg__strb_take(&s);
    const char *kept = text ? cg__arena_str(a, text) : NULL;
    cg__free(text);
    return kept ? kept : n->op->name;
}

const char *cg__label(const cg_node *n)
{
    return cg__label_in(&n->graph->arena, n);
}
