#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# In a dracut initramfs without systemd: as blkferry-early.service.
/usr/lib/blkferry/blkferry-early start || true
