#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace backup::storage {

// Whether `conninfo` is a connection string of libpq: a list of name=value, or a URI
// (postgres://, postgresql://). InvalidArgument for what cannot be meant. No error text holds any
// of it, since what is wrong may be a part of its password.
absl::Status CheckConninfo(const std::string& conninfo);

// Whether it has a password, of the server or of a key. Errors as of CheckConninfo().
absl::StatusOr<bool> HasPassword(const std::string& conninfo);

// How to reach each of the hosts that `conninfo` names, in their order, with what it leaves open:
// to a server that is not on this machine (a Unix socket, localhost, 127.0.0.0/8, ::1) sslmode is
// verify-full unless `conninfo`, its service file or PGSSLMODE says another one; a server that is
// gone without a word is noticed within two to three seconds (tcp_user_timeout, keepalives). Each
// is a list of keywords and values for libpq. Errors as of CheckConninfo().
using ConnectionParameters = std::vector<std::pair<std::string, std::string>>;
absl::StatusOr<std::vector<ConnectionParameters>> ParametersOf(const std::string& conninfo);

// `conninfo` without what is secret, for logs: hosts, ports, database and user. Errors as of
// CheckConninfo().
absl::StatusOr<std::string> DescribeConninfo(const std::string& conninfo);

}  // namespace backup::storage
