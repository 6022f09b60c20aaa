#include "crypto/random.h"

#include <openssl/rand.h>

#include "glog/logging.h"

namespace backup::crypto {
namespace {

// A byte drawn again until it is at least `least`.
char RandomByteFrom(unsigned char least) {
  unsigned char byte = 0;
  do {
    CHECK_EQ(RAND_bytes(&byte, 1), 1) << "no random numbers";
  } while (byte < least);
  return static_cast<char>(byte);
}

std::string RandomBytesFrom(size_t size, unsigned char least) {
  std::string bytes = RandomBytes(size);
  for (char& byte : bytes) {
    if (static_cast<unsigned char>(byte) < least) byte = RandomByteFrom(least);
  }
  return bytes;
}

}  // namespace

std::string RandomBytes(size_t size) {
  std::string bytes(size, '\0');
  CHECK_EQ(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(size)), 1)
      << "no random numbers";
  return bytes;
}

ClientId NewClientId() {
  std::string bytes = RandomBytesFrom(ClientId::kSize, 0x10);
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);  // Version 4.
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);  // RFC 4122 variant.
  return *ClientId::FromBytes(bytes);
}

std::string NewSessionKey(int bits) {
  CHECK(bits == 128 || bits == 256);
  return RandomBytesFrom(static_cast<size_t>(bits) / 8, 0x01);
}

}  // namespace backup::crypto
