#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "rpc/connection_diagnosis.h"

namespace backup::rpc {

// A part of DiagnoseConnection(): what goes wrong on `socket`, which is connected and does not
// block, when TLS is spoken as `plan` says with the service at `host`. `address` is what to call
// it. Empty if nothing does. Thread-safe.
std::string ProbeTls(int socket, const ConnectionPlan& plan, absl::string_view host,
                     absl::string_view address, absl::Duration timeout);

// Whether whoever answers on `socket`, which is connected and does not block, speaks TLS.
bool SpeaksTls(int socket, absl::Duration timeout);

// How a client of HTTP/2 begins, with empty settings; a server answers with its own.
inline constexpr absl::string_view kHttp2Hello(
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 24 + 9);

}  // namespace backup::rpc
