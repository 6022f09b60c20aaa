#pragma once

#include <string>

namespace backup::bridge {

// 16 random bytes that are a UUID of version 4 and hold no byte below 0x10: some clients treat ids
// as C strings. Thread-safe.
std::string RandomUuidBytes();

// What ties the log lines of one request together in both processes: 16 random hex digits.
// Thread-safe.
std::string NewRequestId();

}  // namespace backup::bridge
