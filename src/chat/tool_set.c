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

/* False: its name is there. */
static bool add(struct tool_set *s, struct tool tool)
{
    size_t n = s->n_tools, place = find_place(s, n, tool.name);
    if (place < n && str_eq(s->tools[s->by_name[place]].name, tool.name)) {
        return false;
    }
    memmove(s->by_name + place + 1, s->by_name + place, (n - place) * sizeof *s->by_name);
    s->by_name[place] = n;
    s->tools[n] = tool;
    s->n_tools++;
    s->max_name_bytes = tool.name.n > s->max_name_bytes ? tool.name.n : s->max_name_bytes;
    return true;
}

static bool add_json(struct tool_set *s, const json_t *item, struct error *e)
{
    const json_t *function = json_object_get(item, "function");
    const json_t *name = json_object_get(function, "name");
    struct tool tool = {{json_string_value(name), json_string_length(name)}, function};
    if (tool.name.n == 0) {
        return error_set(e, ERROR_USAGE, "tools[%zu]: no function with a name", s->n_tools);
    }
    return add(s, tool) ||
           error_set(e, ERROR_USAGE, "tools[%zu]: the function '%.*s' is there twice", s->n_tools,
                     STR_ARG(str_shown(tool.name)));
}

static bool make_room(struct tool_set *out, size_t n, struct error *e)
{
    *out = (struct tool_set){0};
    out->tools = mem_alloc(n, sizeof *out->tools, "tools", e);
    out->by_name =
        out->tools != NULL ? mem_alloc(n, sizeof *out->by_name, "tools by name", e) : NULL;
    return out->by_name != NULL;
}

bool tool_set_init(struct tool_set *out, const json_t *tools, struct error *e)
{
    struct tool_set s;
    size_t n = json_array_size(tools);
    bool ok = make_room(&s, n, e);
    for (size_t i = 0; ok && i < n; i++) {
        ok = add_json(&s, json_array_get(tools, i), e);
    }
    if (!ok) {
        tool_set_finish(&s);
        return false;
    }
    *out = s;
    return true;
}

bool tool_set_of_calls(struct tool_set *out, const struct chat_call *calls, size_t n,
                       struct error *e)
{
    struct tool_set s;
    if (!make_room(&s, n, e)) {
        tool_set_finish(&s);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        add(&s, (struct tool){.name = calls[i].name});
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
