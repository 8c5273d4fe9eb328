/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BULKHEAD_PROTO_VERSION_H
#define BULKHEAD_PROTO_VERSION_H
#define BULKHEAD_VERSION "0.1.0"
#endif
