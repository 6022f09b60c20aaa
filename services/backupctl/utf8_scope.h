#pragma once

#include <locale.h>

namespace backup::ctl {

// While it exists, the C library takes this thread's text for UTF-8; for ASCII on a system without
// the locale C.UTF-8, which is part of glibc.
class Utf8Scope {
 public:
  Utf8Scope() : before_(::uselocale(Utf8())) {}
  ~Utf8Scope() { ::uselocale(before_); }
  Utf8Scope(const Utf8Scope&) = delete;
  Utf8Scope& operator=(const Utf8Scope&) = delete;

 private:
  static locale_t Utf8() {
    static const locale_t locale = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return locale;  // Null changes nothing.
  }

  const locale_t before_;
};

}  // namespace backup::ctl
