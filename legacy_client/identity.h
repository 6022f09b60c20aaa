#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"

namespace backup::legacy_client {

// Who this client is, between runs.
struct Identity {
  std::string name;
  ClientId id;
  std::string private_key;  // DER.
};

// Reads `dir`/me.info (line 1 the name, line 2 the id in hex, line 3 and on the private key in
// base64; without a third line the key is in `dir`/priv.key). Nothing if there is no me.info;
// InvalidArgument if it cannot be understood: it is never overwritten then.
absl::StatusOr<std::optional<Identity>> LoadIdentity(const std::string& dir);

// Writes `dir`/priv.key and `dir`/me.info, each whole or not at all, readable by the owner only.
absl::Status SaveIdentity(const std::string& dir, const Identity& identity);

}  // namespace backup::legacy_client
