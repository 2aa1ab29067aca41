// SPDX-License-Identifier: GPL-2.0-or-later
/* Sessions and calls; see xapi.h. */
#include "receiver/xapi/xapi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/xapi/xapi_http.h"

#define CALL_TIMEOUT_NS	 (300 * NS_PER_S) /* some calls work on storage before they answer */
#define LOGIN_TIMEOUT_NS (60 * NS_PER_S)
#define MOVES_MAX	 3 /* a coordinator that points elsewhere all the time */
#define PASSWORD_MAX	 4096
#define CODE_MAX	 128
#define API_VERSION	 "2.0"
#define ORIGINATOR	 "blkferry"

struct xapi {
	struct xapi_http *http;
	char *user, *password_file;
	char session[XAPI_REF_MAX];
	json_int_t calls;
	char error_code[CODE_MAX]; /* of the last call; "" when it was none of XAPI's */
	json_t *error_params;
};

static int say_nonsense(const struct xapi *xapi, const char *method, struct fault *fault)
{
	return fault_set(fault, FAULT_RETRY, EPROTO, "%s: %s does not answer as XAPI does", method,
			 xapi_http_host(xapi->http));
}

static char *make_request(struct xapi *xapi, const char *method, json_t *params)
{
	json_t *request = json_pack("{s:s, s:s, s:O, s:I}", "jsonrpc", "2.0", "method", method,
				    "params", params, "id", ++xapi->calls);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;

	json_decref(request);
	return text;
}

/* Takes what is in an answer: *ret_result, or error_code and error_params. */
static int take_answer(struct xapi *xapi, const char *method, const json_t *answer,
		       json_t **ret_result, struct fault *fault)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = json_string_value(json_object_get(error, "message"));
	json_t *result = json_object_get(answer, "result");

	if (json_integer_value(json_object_get(answer, "id")) != xapi->calls)
		return say_nonsense(xapi, method, fault);
	if (json_is_object(error)) {
		if (!code || !*code || strlen(code) >= CODE_MAX)
			return say_nonsense(xapi, method, fault);
		strcpy(xapi->error_code, code);
		xapi->error_params = json_incref(json_object_get(error, "data"));
		return xapi_error_to_fault(method, code, xapi->error_params, fault);
	}
	if (!result)
		return say_nonsense(xapi, method, fault);
	*ret_result = json_incref(result);
	return 0;
}

static bool is_read(const char *method)
{
	return strstr(method, ".get_") || strcmp(method, "event.from") == 0;
}

static int post(struct xapi *xapi, const char *method, json_t *params, uint64_t timeout_ns,
		json_t **ret_result, struct fault *fault)
{
	char *request = make_request(xapi, method, params);
	const char *text;
	json_t *answer;
	size_t size;
	int error;

	xapi->error_code[0] = '\0';
	json_decref(xapi->error_params);
	xapi->error_params = NULL;
	if (!request)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	if (strlen(request) > XAPI_REQUEST_MAX) {
		free(request);
		return fault_set(fault, FAULT_STOP, EMSGSIZE, "%s: more than XAPI takes at a time",
				 method);
	}
	error = xapi_http_post(xapi->http, request, is_read(method), timeout_ns, &text, &size,
			       fault);
	/* It may hold a password or a session. */
	explicit_bzero(request, strlen(request));
	free(request);
	if (error)
		return error;
	answer = json_loadb(text, size, 0, NULL);
	error = answer ? take_answer(xapi, method, answer, ret_result, fault)
		       : say_nonsense(xapi, method, fault);
	json_decref(answer);
	return error;
}

/* HOST_IS_SLAVE [address]: the pool's coordinator is there. */
static int move_to_coordinator(struct xapi *xapi, struct fault *fault)
{
	const char *host = json_string_value(json_array_get(xapi->error_params, 0));

	xapi->session[0] = '\0';
	if (!host || xapi_http_move(xapi->http, host))
		return fault_set(fault, FAULT_STOP, EREMOTE,
				 "%s is not the pool's coordinator: set [xcp] host to the address "
				 "of that one",
				 xapi_http_host(xapi->http));
	return 0;
}

static int read_password(const struct xapi *xapi, char **ret_password, struct fault *fault)
{
	char *text;
	size_t size;
	int error;

	if (!xapi->password_file) {
		*ret_password = strdup("");
		return *ret_password ? 0 : fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	}
	error = os_file_read(xapi->password_file, PASSWORD_MAX, &text, &size);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "[xcp] password-file %s: %s",
				 xapi->password_file, strerror(-error));
	text[strcspn(text, "\r\n")] = '\0';
	*ret_password = text;
	return 0;
}

static int log_in_here(struct xapi *xapi, const char *password, struct fault *fault)
{
	json_t *result = NULL;
	json_t *params = json_pack("[s, s, s, s]", xapi->user ? xapi->user : "", password,
				   API_VERSION, ORIGINATOR);
	const char *session;
	int error =
		post(xapi, "session.login_with_password", params, LOGIN_TIMEOUT_NS, &result, fault);

	json_decref(params);
	if (error)
		return error;
	session = json_string_value(result);
	if (session && strlen(session) < sizeof(xapi->session))
		strcpy(xapi->session, session);
	else
		error = say_nonsense(xapi, "session.login_with_password", fault);
	json_decref(result);
	return error;
}

static int log_in(struct xapi *xapi, struct fault *fault)
{
	char *password;
	int error = read_password(xapi, &password, fault);

	if (error)
		return error;
	error = log_in_here(xapi, password, fault);
	for (unsigned int i = 0; i < MOVES_MAX && xapi_error_is(xapi, "HOST_IS_SLAVE"); i++) {
		error = move_to_coordinator(xapi, fault);
		if (!error)
			error = log_in_here(xapi, password, fault);
		else
			break;
	}
	explicit_bzero(password, strlen(password));
	free(password);
	return error;
}

bool xapi_error_is(const struct xapi *xapi, const char *code)
{
	return strcmp(xapi->error_code, code) == 0;
}

/* Neither was executed where it was sent. */
static bool is_to_be_repeated(struct xapi *xapi)
{
	return xapi_error_is(xapi, "SESSION_INVALID") || xapi_error_is(xapi, "HOST_IS_SLAVE");
}

static int call_once(struct xapi *xapi, const char *method, const json_t *params,
		     json_t **ret_result, struct fault *fault)
{
	json_t *all = json_array();
	json_t *result = NULL;
	int error;

	json_array_append_new(all, json_string(xapi->session));
	if (params)
		json_array_extend(all, (json_t *)params);
	error = post(xapi, method, all, CALL_TIMEOUT_NS, &result, fault);
	json_decref(all);
	if (!error && ret_result)
		*ret_result = result;
	else
		json_decref(result);
	return error;
}

int xapi_call(struct xapi *xapi, const char *method, json_t *params, json_t **ret_result,
	      struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; i <= MOVES_MAX; i++) {
		if (!xapi->session[0])
			error = log_in(xapi, fault);
		if (!error)
			error = call_once(xapi, method, params, ret_result, fault);
		if (!error || !is_to_be_repeated(xapi))
			break;
		error = xapi_error_is(xapi, "HOST_IS_SLAVE") ? move_to_coordinator(xapi, fault) : 0;
		xapi->session[0] = '\0';
		if (error)
			break;
	}
	if (!error && xapi->error_code[0])
		error = fault_set(fault, FAULT_RETRY, ESTALE,
				  "%s: XAPI ends each session at once, or its hosts do not agree "
				  "who coordinates the pool",
				  method);
	json_decref(params);
	return error;
}

int xapi_callf(struct xapi *xapi, json_t **ret_result, struct fault *fault, const char *method,
	       const char *format, ...)
{
	json_t *params = NULL;
	va_list args;

	if (format) {
		va_start(args, format);
		params = json_vpack_ex(NULL, 0, format, args);
		va_end(args);
		if (!params)
			return fault_set(fault, FAULT_STOP, EINVAL,
					 "%s: a text is not valid UTF-8, or memory ran out",
					 method);
	}
	return xapi_call(xapi, method, params, ret_result, fault);
}

static int keep_options(struct xapi *xapi, const struct xapi_options *options)
{
	xapi->user = options->user ? strdup(options->user) : NULL;
	xapi->password_file = options->password_file ? strdup(options->password_file) : NULL;
	return (options->user && !xapi->user) || (options->password_file && !xapi->password_file)
		       ? -ENOMEM
		       : 0;
}

int xapi_open(const struct xapi_options *options, struct xapi **ret_xapi, struct fault *fault)
{
	struct xapi *xapi = calloc(1, sizeof(*xapi));
	int error;

	if (!xapi || keep_options(xapi, options))
		error = fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	else
		error = xapi_http_new(options, &xapi->http, fault);
	if (!error)
		error = log_in(xapi, fault);
	if (error) {
		xapi_close(xapi);
		return error;
	}
	*ret_xapi = xapi;
	return 0;
}

void xapi_close(struct xapi *xapi)
{
	if (!xapi)
		return;
	/* Ignoring its failure: XAPI forgets sessions by itself. */
	if (xapi->http && xapi->session[0])
		(void)call_once(xapi, "session.logout", NULL, NULL, NULL);
	xapi_http_free(xapi->http);
	json_decref(xapi->error_params);
	free(xapi->user);
	free(xapi->password_file);
	free(xapi);
}
