#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace backup::storage::postgres {

// What is to be done about an error of the server beside telling it.
enum class Remedy {
  kNone,
  kRunAgain,   // Two transactions were in each other's way: the one that was undone is run again.
  kGrant,      // The role lacks a right.
  kReconnect,  // The connection is of no more use: the server ends, or may not write any more.
};

struct ServerError {
  absl::Status status;
  Remedy remedy = Remedy::kNone;
};

// The one place where SQLSTATEs become our reasons. `message` is the server's primary message.
ServerError ServerErrorOf(absl::string_view sql_state, absl::string_view message);

// Reason BACKEND_DOWN: the connection is lost, or could not be made.
absl::Status ConnectionLost(absl::string_view why);
// FailedPrecondition, for SQLSTATEs that somebody must put right before any connection can be
// made; else as ConnectionLost().
absl::Status ConnectionRefused(absl::string_view message);

}  // namespace backup::storage::postgres
