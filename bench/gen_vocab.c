/* gen_vocab.c - a small valid byte-level BPE vocabulary, padded to any size.
 *
 * Every byte is a token, so any text tokenises; a few merges make common words shorter; filler
 * words of three syllables make a random model's output readable. Special tokens have Llama 3's
 * names and distances from the end, so with 128256 tokens they have Llama 3's ids. */
#include "gen.h"

#include "base/str.h"

#include <stdio.h>

enum {
    N_BYTES = 256,
    FEW_SPECIALS = 16,
    ALL_SPECIALS = 256,
    ALL_SPECIALS_MIN_VOCAB = 4096,
    SYLLABLES = 17 * 5
};

/* Positions among the special tokens. */
enum { SPECIAL_BOS = 0, SPECIAL_EOS = 1, SPECIAL_PAD = 4, SPECIAL_EOM = 8, SPECIAL_EOT = 9 };

static const char *const special_names[] = {
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
};
enum { N_NAMED_SPECIALS = sizeof special_names / sizeof special_names[0] };

/* In order of rank; SPACE is how byte-level BPE writes a space. Each side is a byte or the result
 * of an earlier line. */
#define SPACE "\xC4\xA0"
static const char *const merges[][2] = {
    {SPACE, "t"},      {"h", "e"},        {"i", "n"},    {SPACE, "a"},     {"r", "e"},
    {"o", "n"},        {SPACE "t", "he"}, {"e", "r"},    {SPACE, "s"},     {"a", "t"},
    {"o", "r"},        {"e", "n"},        {SPACE, "w"},  {SPACE, "c"},     {"i", "t"},
    {"i", "s"},        {"a", "n"},        {"e", "s"},    {SPACE, "b"},     {"e", "d"},
    {"in", "g"},       {SPACE, "f"},      {"o", "u"},    {SPACE, "p"},     {SPACE "a", "n"},
    {SPACE "an", "d"}, {SPACE "t", "o"},  {SPACE, "o"},  {SPACE "o", "f"}, {"l", "l"},
    {"H", "e"},        {"He", "ll"},      {"Hell", "o"}, {"t", "h"},       {"th", "e"},
    {SPACE, "in"},     {SPACE, SPACE},    {SPACE, "is"}, {"y", "ou"},      {SPACE, "you"},
};
enum { N_MERGES = sizeof merges / sizeof merges[0] };

bool gen_put(struct buf *out, uint64_t value, size_t n_bytes, struct error *e)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (!buf_append_byte(out, (char)(value >> 8 * i & 0xFF), e)) {
            return false;
        }
    }
    return true;
}

bool gen_put_str(struct buf *out, const char *text, struct error *e)
{
    struct str s = str_from(text);
    return gen_put(out, s.n, 8, e) && buf_append(out, s, e);
}

/* The printable character of byte-level BPE for a byte: itself where it is printable Latin-1, else
 * the next of U+0100 and up. source  GPT-2's encoder.py */
static void byte_token(unsigned byte, char out[5])
{
    uint32_t next = 0x100;
    uint32_t code_point = 0;
    for (unsigned b = 0; b <= byte; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        code_point = printable ? b : next++;
    }
    size_t n = str_encode_utf8(code_point, out);
    out[n] = '\0';
}

/* Word number `index`: a space and three syllables, different for every index below 85^3. */
static void filler_token(uint32_t index, char out[16])
{
    static const char consonants[] = "bdfghjklmnprstvwz";
    static const char vowels[] = "aeiou";
    uint32_t syllables[3] = {index / SYLLABLES / SYLLABLES, index / SYLLABLES % SYLLABLES,
                             index % SYLLABLES};
    char *p = out;
    memcpy(p, SPACE, 2);
    p += 2;
    for (int i = 0; i < 3; i++) {
        *p++ = consonants[syllables[i] / 5 % 17];
        *p++ = vowels[syllables[i] % 5];
    }
    *p = '\0';
}

static void special_token(uint32_t index, char out[48])
{
    if (index < N_NAMED_SPECIALS) {
        snprintf(out, 48, "%s", special_names[index]);
    } else {
        snprintf(out, 48, "<|reserved_special_token_%u|>", index - N_NAMED_SPECIALS + 3);
    }
}

static uint32_t count_specials(uint32_t n_tokens)
{
    return n_tokens < ALL_SPECIALS_MIN_VOCAB ? FEW_SPECIALS : ALL_SPECIALS;
}

static bool put_token(struct buf *out, uint32_t id, uint32_t n_tokens, struct error *e)
{
    char text[48];
    uint32_t first_special = n_tokens - count_specials(n_tokens);
    if (id < N_BYTES) {
        byte_token(id, text);
    } else if (id < N_BYTES + N_MERGES) {
        const char *const *merge = merges[id - N_BYTES];
        snprintf(text, sizeof text, "%s%s", merge[0], merge[1]);
    } else if (id < first_special) {
        filler_token(id - N_BYTES - N_MERGES, text);
    } else {
        special_token(id - first_special, text);
    }
    return gen_put_str(out, text, e);
}

/* Key, value type, and for arrays item type and count. Types: GGUF's, format/gguf.h. */
static bool put_key(struct gen_keys *k, const char *key, uint32_t type, struct error *e)
{
    k->n++;
    return gen_put_str(&k->bytes, key, e) && gen_put(&k->bytes, type, 4, e);
}

static bool put_array(struct gen_keys *k, const char *key, uint32_t item_type, uint64_t n,
                      struct error *e)
{
    return put_key(k, key, 9, e) && gen_put(&k->bytes, item_type, 4, e) &&
           gen_put(&k->bytes, n, 8, e);
}

bool gen_key_u32(struct gen_keys *k, const char *key, uint32_t value, struct error *e)
{
    return put_key(k, key, 4, e) && gen_put(&k->bytes, value, 4, e);
}

bool gen_key_f32(struct gen_keys *k, const char *key, float value, struct error *e)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_key(k, key, 6, e) && gen_put(&k->bytes, bits, 4, e);
}

bool gen_key_bool(struct gen_keys *k, const char *key, bool value, struct error *e)
{
    return put_key(k, key, 7, e) && gen_put(&k->bytes, value, 1, e);
}

bool gen_key_str(struct gen_keys *k, const char *key, const char *value, struct error *e)
{
    return put_key(k, key, 8, e) && gen_put_str(&k->bytes, value, e);
}

static bool put_tables(struct gen_keys *k, uint32_t n_tokens, struct error *e)
{
    bool ok = put_array(k, "tokenizer.ggml.tokens", 8, n_tokens, e);
    for (uint32_t id = 0; ok && id < n_tokens; id++) {
        ok = put_token(&k->bytes, id, n_tokens, e);
    }
    ok = ok && put_array(k, "tokenizer.ggml.token_type", 5, n_tokens, e);
    for (uint32_t id = 0; ok && id < n_tokens; id++) {
        bool control = id >= n_tokens - count_specials(n_tokens);
        ok = gen_put(&k->bytes, control ? 3 : 1, 4, e); /* CONTROL, NORMAL */
    }
    ok = ok && put_array(k, "tokenizer.ggml.merges", 8, N_MERGES, e);
    for (uint32_t i = 0; ok && i < N_MERGES; i++) {
        char text[48];
        snprintf(text, sizeof text, "%s %s", merges[i][0], merges[i][1]);
        ok = gen_put_str(&k->bytes, text, e);
    }
    return ok;
}

bool gen_vocab_write(struct gen_keys *k, uint32_t n_tokens, struct error *e)
{
    static const char chat_template[] =
        "{{ bos_token }}{% for message in messages %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + "
        "message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
    uint32_t first = n_tokens - count_specials(n_tokens);
    return gen_key_str(k, "tokenizer.ggml.model", "gpt2", e) &&
           gen_key_str(k, "tokenizer.ggml.pre", "llama-bpe", e) && put_tables(k, n_tokens, e) &&
           gen_key_u32(k, "tokenizer.ggml.bos_token_id", first + SPECIAL_BOS, e) &&
           gen_key_u32(k, "tokenizer.ggml.eos_token_id", first + SPECIAL_EOS, e) &&
           gen_key_u32(k, "tokenizer.ggml.padding_token_id", first + SPECIAL_PAD, e) &&
           gen_key_u32(k, "tokenizer.ggml.eom_token_id", first + SPECIAL_EOM, e) &&
           gen_key_u32(k, "tokenizer.ggml.eot_token_id", first + SPECIAL_EOT, e) &&
           gen_key_bool(k, "tokenizer.ggml.add_bos_token", true, e) &&
           gen_key_str(k, "tokenizer.chat_template", chat_template, e);
}
