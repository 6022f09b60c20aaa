#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace backup::audit {

// Entries of the audit log itself, beside those of calls and jobs.
inline constexpr char kBegun[] = "audit begin";            // A log that has nothing before it.
inline constexpr char kDamageFound[] = "audit damage";     // A start found it not as it was left.
inline constexpr char kStateRestored[] = "state restore";  // The catalog is a snapshot's from now,
inline constexpr char kStateRebuilt[] = "state rebuild";   // or was made anew,
inline constexpr char kStateAccepted[] = "state accept";   // or an older one is taken as it is.
inline constexpr char kStateMigrated[] = "migrate";        // It came from another place.
// What refused calls became beyond those that are told one by one.
inline constexpr char kManyRefused[] = "calls refused";
inline constexpr char kLost[] = "audit lost";  // So many entries had no room.

// Who does what nobody asked for.
inline constexpr char kService[] = "service";
// What came of what was done.
inline constexpr char kOk[] = "OK";

// What is written of a method that does something worth an entry: "DeleteVersion" is "version
// delete". Empty for all others.
absl::string_view ActionOf(absl::string_view rpc);

}  // namespace backup::audit
