#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/time/time.h"
#include "base/ip_network.h"

namespace backup {

// Validators for DEFINE_validator(), which say by MustBe() what a value must be, and readers of
// flags that they let through. All of them are thread-safe.

// A length of time, 0s or more.
bool ValidateDuration(const char* flag, const std::string& value);
absl::Duration DurationFlag(const std::string& value);

// auto, true or false.
bool ValidateTristate(const char* flag, const std::string& value);
// What `value` says; `automatic` if that is auto.
bool TristateFlag(const std::string& value, bool automatic);

// What IpNetworks::Parse() takes; nothing is no network.
bool ValidateNetworks(const char* flag, const std::string& value);
IpNetworks NetworksFlag(const std::string& value);

bool ValidateNotNegative(const char* flag, int64_t value);
bool ValidatePositive(const char* flag, int32_t value);

// For validators of flags that have a few values.
bool IsOneOf(const std::string& value, std::initializer_list<const char*> allowed);

}  // namespace backup
