#pragma once

#include <string>

#include "base/ids.h"

namespace backup::crypto {

// From the operating system's generator, by way of OpenSSL. Dies if there is none.
std::string RandomBytes(size_t size);

// A random UUID (version 4) without a byte below 0x10: some clients treat ids as C strings or print
// them unpadded.
ClientId NewClientId();

// `bits` is 128 or 256. No byte is zero: some clients treat keys as C strings.
std::string NewSessionKey(int bits);

}  // namespace backup::crypto
