/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of what came in an enrolment, without I/O, so that a fuzzer can drive them (I10). */
#ifndef BLKFERRY_COMMON_ENROLL_CHECK_H
#define BLKFERRY_COMMON_ENROLL_CHECK_H

#include "common/enroll_wire.h"
#include "common/fault.h"

/* After 0 every length lies within its limit, and a reply's name is valid and ends in a NUL. */
int enroll_check_request(const struct enroll_request *request, struct fault *fault);
int enroll_check_reply(const struct enroll_reply *reply, struct fault *fault);

#endif
