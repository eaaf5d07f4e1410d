/* tool_set.c - names in order, so that they and their beginnings are found by halving. */
#include "chat/tool_set.h"

#include "base/mem.h"

static int compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* The place, in their order, of the first name that is not less. */
static size_t find_place(const struct tool_set *s, size_t n, struct str name)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(s->tools[s->by_name[middle]].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool add_tool(struct tool_set *s, const json_t *item, struct error *e)
{
    const json_t *function = json_object_get(item, "function");
    const json_t *name = json_object_get(function, "name");
    struct tool tool = {{json_string_value(name), json_string_length(name)}, function};
    size_t n = s->n_tools;
    if (tool.name.n == 0) {
        return error_set(e, ERROR_USAGE, "tools[%zu]: no function with a name", n);
    }
    size_t place = find_place(s, n, tool.name);
    if (place < n && str_eq(s->tools[s->by_name[place]].name, tool.name)) {
        return error_set(e, ERROR_USAGE, "tools[%zu]: the function '%.*s' is there twice", n,
                         STR_ARG(str_shown(tool.name)));
    }
    memmove(s->by_name + place + 1, s->by_name + place, (n - place) * sizeof *s->by_name);
    s->by_name[place] = n;
    s->tools[n] = tool;
    s->n_tools++;
    s->max_name_bytes = tool.name.n > s->max_name_bytes ? tool.name.n : s->max_name_bytes;
    return true;
}

bool tool_set_init(struct tool_set *out, const json_t *tools, struct error *e)
{
    struct tool_set s = {0};
    size_t n = json_array_size(tools);
    s.tools = mem_alloc(n, sizeof *s.tools, "tools", e);
    s.by_name = s.tools != NULL ? mem_alloc(n, sizeof *s.by_name, "tools by name", e) : NULL;
    bool ok = s.by_name != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        ok = add_tool(&s, json_array_get(tools, i), e);
    }
    if (!ok) {
        tool_set_finish(&s);
        return false;
    }
    *out = s;
    return true;
}

void tool_set_finish(struct tool_set *s)
{
    mem_free(s->tools);
    mem_free(s->by_name);
    *s = (struct tool_set){0};
}

const struct tool *tool_set_find(const struct tool_set *s, struct str name)
{
    size_t place = find_place(s, s->n_tools, name);
    const struct tool *tool = place < s->n_tools ? &s->tools[s->by_name[place]] : NULL;
    return tool != NULL && str_eq(tool->name, name) ? tool : NULL;
}

bool tool_set_may_find(const struct tool_set *s, struct str beginning)
{
    size_t place = find_place(s, s->n_tools, beginning);
    return place < s->n_tools && str_starts_with(s->tools[s->by_name[place]].name, beginning);
}
