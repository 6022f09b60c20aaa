#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"

// The old server kept a file as its plaintext, or, run with --encrypt, as the client had sent it:
// AES-CBC with a zero IV and PKCS#7 padding under the client's key. Nothing in the file says which.
namespace backup::ctl::old_server {

enum class ContentKind { kPlain, kEncrypted };

struct Evidence {
  ContentKind kind = ContentKind::kPlain;
  bool fits_key = false;  // Whole blocks, and right padding under the key.
  // Whether the file could as well be of the other kind. One plaintext in 256 whose size is a
  // multiple of 16 has a right padding by chance.
  bool could_be_both = false;
  // Nothing in the file speaks for its kind: `kind` is a guess, and other files know better.
  bool undecided = false;
  // Of plain content: it looks like ciphertext, though not like this key's.
  bool looks_encrypted = false;
};

// What a file is under its client's AES key, which is empty if the client has none. Errors are
// those of reading.
absl::StatusOr<Evidence> Examine(const RandomAccess& file, absl::string_view key);

// Whether bytes look as random as ciphertext: they are no text, and no byte is unduly frequent. Of
// 15 bytes and more.
bool LooksRandom(absl::string_view bytes);

}  // namespace backup::ctl::old_server
