// SPDX-License-Identifier: GPL-2.0-or-later
/* Filling in and extending faults; see fault.h. */
#include "common/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int fault_set(struct fault *fault, enum fault_class class, int error, const char *format, ...)
{
	/* The text may quote the fault's own old text: build it aside. */
	char text[FAULT_TEXT_MAX];
	va_list arguments;

	assert(error > 0);
	if (!fault)
		return -error;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	memcpy(fault->text, text, sizeof(text));
	fault->class = class;
	fault->error = error;
	return -error;
}

int fault_prefix(struct fault *fault, const char *format, ...)
{
	char text[2 * FAULT_TEXT_MAX + 2];
	va_list arguments;
	size_t length;

	/* Which error it was is not known here, but a failure must never come out as success. */
	if (!fault)
		return -EIO;
	va_start(arguments, format);
	vsnprintf(text, FAULT_TEXT_MAX, format, arguments);
	va_end(arguments);
	length = strlen(text);
	snprintf(text + length, sizeof(text) - length, ": %s", fault->text);
	snprintf(fault->text, sizeof(fault->text), "%.*s", FAULT_TEXT_MAX - 1, text);
	return -fault->error;
}

const char *fault_class_name(enum fault_class class)
{
	switch (class) {
	case FAULT_RETRY:
		return "retry";
	case FAULT_RESYNC:
		return "resync";
	case FAULT_STOP:
		return "stop";
	}
	return "unknown";
}
