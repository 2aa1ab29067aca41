// SPDX-License-Identifier: GPL-2.0-or-later
/* Typed calls, and tasks followed by their events; see xapi.h. */
#include "receiver/xapi/xapi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/os_clock.h"

/* How long XAPI waits for an event before it says that there was none. */
#define EVENT_NS  (10 * NS_PER_S)
#define RETRY_NS  (NS_PER_S)
#define TOKEN_MAX 128

static int say_type(const char *method, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, EPROTO,
			 "%s: XAPI's answer is not of the type that was expected", method);
}

static int take_text(const char *method, json_t *result, char *ret_text, size_t size,
		     struct fault *fault)
{
	const char *text = json_string_value(result);
	int error = 0;

	if (text && strlen(text) < size)
		strcpy(ret_text, text);
	else
		error = say_type(method, fault);
	json_decref(result);
	return error;
}

int xapi_get_text(struct xapi *xapi, const char *method, const char *ref, char *ret_text,
		  size_t size, struct fault *fault)
{
	json_t *result;
	int error = xapi_callf(xapi, &result, fault, method, "[s]", ref);

	return error ? error : take_text(method, result, ret_text, size, fault);
}

int xapi_get_number(struct xapi *xapi, const char *method, const char *ref, uint64_t *ret_number,
		    struct fault *fault)
{
	json_t *result;
	int error = xapi_callf(xapi, &result, fault, method, "[s]", ref);

	if (error)
		return error;
	if (json_is_integer(result) && json_integer_value(result) >= 0)
		*ret_number = (uint64_t)json_integer_value(result);
	else
		error = say_type(method, fault);
	json_decref(result);
	return error;
}

int xapi_get_switch(struct xapi *xapi, const char *method, const char *ref, bool *ret_switch,
		    struct fault *fault)
{
	json_t *result;
	int error = xapi_callf(xapi, &result, fault, method, "[s]", ref);

	if (error)
		return error;
	if (json_is_boolean(result))
		*ret_switch = json_is_true(result);
	else
		error = say_type(method, fault);
	json_decref(result);
	return error;
}

int xapi_find(struct xapi *xapi, const char *class, const char *text, char *ret_ref,
	      struct fault *fault)
{
	char method[64];
	json_t *result;
	size_t count;
	int error;

	snprintf(method, sizeof(method), "%s.get_by_uuid", class);
	if (xapi_callf(xapi, &result, fault, method, "[s]", text) == 0)
		return take_text(method, result, ret_ref, XAPI_REF_MAX, fault);
	if (!xapi_error_is(xapi, "UUID_INVALID"))
		return fault ? -fault->error : -EIO;
	snprintf(method, sizeof(method), "%s.get_by_name_label", class);
	error = xapi_callf(xapi, &result, fault, method, "[s]", text);
	if (error)
		return error;
	count = json_array_size(result);
	if (count == 1)
		error = take_text(method, json_incref(json_array_get(result, 0)), ret_ref,
				  XAPI_REF_MAX, fault);
	else
		error = fault_set(
			fault, FAULT_STOP, count ? ENOTUNIQ : ENOENT,
			count ? "there are %3$zu %1$ss named '%2$s' in the pool: give the "
				"UUID of one"
			      : "there is no %1$s '%2$s' in the pool: give its name or UUID "
				"(%3$zu found)",
			class, text, count);
	json_decref(result);
	return error;
}

/* Waits until XAPI says that something about the task changed, or EVENT_NS, or the deadline. */
static int wait_for_event(struct xapi *xapi, const char *task, char *token, uint64_t deadline_ns,
			  struct fault *fault)
{
	uint64_t now_ns = os_monotonic_ns();
	uint64_t wait_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	char what[XAPI_REF_MAX + 8];
	json_t *result;
	const char *next;
	int error;

	snprintf(what, sizeof(what), "task/%s", task);
	error = xapi_callf(xapi, &result, fault, "event.from", "[[s], s, f]", what, token,
			   (double)(wait_ns < EVENT_NS ? wait_ns : EVENT_NS) / (double)NS_PER_S);
	if (error && xapi_error_is(xapi, "EVENTS_LOST")) {
		token[0] = '\0';
		return 0;
	}
	if (error)
		return error;
	next = json_string_value(json_object_get(result, "token"));
	if (next && strlen(next) < TOKEN_MAX)
		strcpy(token, next);
	else
		error = say_type("event.from", fault);
	json_decref(result);
	return error;
}

/* A result is XML: <value>text</value>, or nothing. */
static void copy_result(const char *text, char *ret_text, size_t size)
{
	static const char begin[] = "<value>";
	size_t length;

	if (strncmp(text, begin, strlen(begin)) == 0)
		text += strlen(begin);
	length = strcspn(text, "<");
	snprintf(ret_text, size, "%.*s", (int)(length < size ? length : size - 1), text);
}

/* 1: still pending. */
static int look_at_task(struct xapi *xapi, const char *method, const char *task, char *ret_text,
			size_t size, struct fault *fault)
{
	json_t *record;
	const char *status, *text;
	int error = xapi_callf(xapi, &record, fault, "task.get_record", "[s]", task);

	if (error)
		return error;
	status = json_string_value(json_object_get(record, "status"));
	text = json_string_value(json_object_get(record, "result"));
	if (!status) {
		error = say_type("task.get_record", fault);
	} else if (strcmp(status, "pending") == 0 || strcmp(status, "cancelling") == 0) {
		error = 1;
	} else if (strcmp(status, "success") == 0) {
		if (ret_text)
			copy_result(text ? text : "", ret_text, size);
	} else {
		json_t *info = json_object_get(record, "error_info");
		const char *code = json_string_value(json_array_get(info, 0));
		json_t *params = json_copy(info);

		if (params && json_array_size(params))
			json_array_remove(params, 0);
		error = xapi_error_to_fault(method, code ? code : "TASK_CANCELLED", params, fault);
		json_decref(params);
	}
	json_decref(record);
	return error;
}

static int follow_task(struct xapi *xapi, const char *method, const char *task,
		       uint64_t deadline_ns, char *ret_text, size_t size, struct fault *fault)
{
	char token[TOKEN_MAX] = "";

	for (;;) {
		int error = look_at_task(xapi, method, task, ret_text, size, fault);
		struct fault passing = {0};

		/* An answer that got lost is asked for again: looking changes nothing. */
		if (error != 1 && !(error && fault->class == FAULT_RETRY &&
				    xapi_error_is(xapi, "") && os_monotonic_ns() < deadline_ns))
			return error;
		if (os_monotonic_ns() >= deadline_ns)
			return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
					 "%s did not end in time and was cancelled", method);
		if (wait_for_event(xapi, task, token, deadline_ns, &passing))
			os_sleep_ns(RETRY_NS);
	}
}

int xapi_run(struct xapi *xapi, const char *method, json_t *params, uint64_t timeout_ns,
	     char *ret_text, size_t size, struct fault *fault)
{
	char async[64], task[XAPI_REF_MAX];
	struct fault ignored = {0};
	json_t *result;
	int error;

	snprintf(async, sizeof(async), "Async.%s", method);
	error = xapi_call(xapi, async, params, &result, fault);
	if (!error)
		error = take_text(async, result, task, sizeof(task), fault);
	if (error)
		return error;
	error = follow_task(xapi, method, task, os_monotonic_ns() + timeout_ns, ret_text, size,
			    fault);
	if (error == -ETIMEDOUT)
		(void)xapi_callf(xapi, NULL, &ignored, "task.cancel", "[s]", task);
	/* Ignoring its failure: XAPI forgets finished tasks by itself. */
	(void)xapi_callf(xapi, NULL, &ignored, "task.destroy", "[s]", task);
	return error;
}
