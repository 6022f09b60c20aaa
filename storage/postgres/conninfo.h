#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace backup::storage {

// Whether `conninfo` is a connection string of libpq: a list of name=value, or a URI
// (postgres://, postgresql://). InvalidArgument for what cannot be meant. No error text holds any of
// it, since what is wrong may be a part of its password.
absl::Status CheckConninfo(const std::string& conninfo);

// What is given to libpq: `conninfo` with what it leaves open. To a server that is neither on this
// machine (a Unix socket, localhost, 127.0.0.0/8, ::1) nor named only elsewhere (a service file), it
// is sslmode=verify-full with the system's roots unless `conninfo` or PGSSLMODE says another one.
// Errors as of CheckConninfo().
absl::StatusOr<std::string> CompleteConninfo(const std::string& conninfo);

// `conninfo` without what is secret, for logs: hosts, ports, database and user. Errors as of
// CheckConninfo().
absl::StatusOr<std::string> DescribeConninfo(const std::string& conninfo);

}  // namespace backup::storage
