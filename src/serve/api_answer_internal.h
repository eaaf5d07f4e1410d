/* api_answer_internal.h - what the writers of whole answers and of events share. */
#ifndef SERVE_API_ANSWER_INTERNAL_H
#define SERVE_API_ANSWER_INTERNAL_H

#include "serve/api_answer.h"
#include "serve/api_write.h"

/* {"id":...,"object":...,"created":...,"model":...,"system_fingerprint":...[,"service_tier":...] */
void api_write_head(struct api_writer *w, const struct api_head *h, const char *object);

/* [,"warnings":[...]] */
void api_write_warnings(struct api_writer *w, const struct api_warning *warnings, size_t n);

/* [,"warnings":[...]][,"truncation":{...}] */
void api_write_reports(struct api_writer *w, const struct api_head *h);

/* "name":...,"arguments":... of a call, or of a part of one */
void api_write_function(struct api_writer *w, const struct api_call *call);

/* ,"usage":{...} */
void api_write_usage(struct api_writer *w, const struct api_usage *u);

/* ,"logprobs":...,"finish_reason":...[,"content_filter_results":{...}] of a chat or a completion */
void api_write_choice_tail(struct api_writer *w, const struct api_choice *c, bool is_chat);

#endif
