// SPDX-License-Identifier: Apache-2.0
// A library for LD_PRELOAD whose calls stand before libc's: those that write to files, or bring them to the disk, below
// one folder are counted, and some of them fail or are the process' last. faults.py uses it. The environment says:
//
//     BARLOW_FAULT_FOLDER   an absolute path without links; calls on other files are neither counted nor touched
//     BARLOW_FAULT_COUNT    a file that gets a line of each counted call, "write /folder/file": as many as there were
//     BARLOW_FAULT_AT       the call, from 1, at which it happens; 0: none
//     BARLOW_FAULT_FOR      how many calls fail, from that one on; 1 if it is not said, 0: all that follow
//     BARLOW_FAULT_ERRNO    the number of the error; EIO if it is not said
//     BARLOW_FAULT_SHORT    1: if the call writes, half of its bytes are written, and the next calls fail
//     BARLOW_FAULT_KILL     before, after: instead of failing, the process is killed (SIGKILL) there; with
//                           BARLOW_FAULT_SHORT once half of the bytes are written
//
// What fails does nothing, but a descriptor that could not be closed is closed, as Linux does it.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

std::string text_of(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

long number_of(const char* name, long otherwise) {
  const auto text = text_of(name);
  return text.empty() ? otherwise : std::atol(text.c_str());
}

struct Plan {
  std::string folder = text_of("BARLOW_FAULT_FOLDER"), kill = text_of("BARLOW_FAULT_KILL");
  long at = number_of("BARLOW_FAULT_AT", 0), count = number_of("BARLOW_FAULT_FOR", 1);
  int error = static_cast<int>(number_of("BARLOW_FAULT_ERRNO", EIO));
  bool half = number_of("BARLOW_FAULT_SHORT", 0) != 0;
  int list = text_of("BARLOW_FAULT_COUNT").empty() ? -1
                                                   : static_cast<int>(::syscall(
                                                         SYS_openat,
                                                         AT_FDCWD,
                                                         text_of("BARLOW_FAULT_COUNT").c_str(),
                                                         O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                                                         0666));
  std::atomic<long> calls{0};
};

Plan& plan() {
  static auto* const the = new Plan(); // lives on: streams are closed after everything else
  return *the;
}

std::string path_of(int fd) {
  char path[PATH_MAX];
  const auto length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof(path));
  return {path, length > 0 ? static_cast<size_t>(length) : 0};
}

std::string path_at(int folder, const char* path) {
  if (*path == '/') {
    return path;
  }
  char here[PATH_MAX];
  return (folder != AT_FDCWD ? path_of(folder) : ::getcwd(here, sizeof(here)) != nullptr ? here : "") + "/" + path;
}

enum class Fate { Passes, Half, Fails, DiesBefore, DiesAfter };

// Counts the call and says what becomes of it. `bytes`: that it writes.
Fate fate(const char* call, const std::string& path, size_t bytes = 0) {
  auto& p = plan();
  if (p.folder.empty() || (path != p.folder && path.rfind(p.folder + '/', 0) != 0)) {
    return Fate::Passes;
  }
  const long now = ++p.calls;
  if (p.list >= 0) {
    const auto line = call + (' ' + path) + '\n';
    ::syscall(SYS_write, p.list, line.data(), line.size());
  }
  static std::atomic<bool> halved{false};
  if (now == p.at && p.half && bytes > 1) {
    halved = true;
    return Fate::Half;
  }
  const long begin = p.at + (halved ? 1 : 0);
  if (p.at == 0 || now < begin || (p.count > 0 && now >= begin + p.count)) {
    return Fate::Passes;
  }
  return p.kill == "before" ? Fate::DiesBefore : p.kill == "after" ? Fate::DiesAfter : Fate::Fails;
}

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  while (true) {
    ::pause();
  }
}

// What the call comes to: `real` does it, `failed` is what it returns if it fails.
template <class Result, class Real>
Result call(Fate fate, Result failed, Real real) {
  if (fate == Fate::Passes) {
    return real();
  }
  if (fate == Fate::DiesAfter) {
    real();
  }
  if (fate != Fate::Fails) {
    die();
  }
  errno = plan().error;
  return failed;
}

// The same of a call that writes so many bytes; `real` writes as many as it is told.
template <class Real>
ssize_t call_writing(const char* name, int fd, size_t bytes, Real real) {
  const auto what = fate(name, path_of(fd), bytes);
  if (what != Fate::Half) {
    return call<ssize_t>(what, -1, [&] { return real(bytes); });
  }
  const auto put = real(bytes / 2);
  if (!plan().kill.empty()) {
    die();
  }
  return put;
}

// The same of a call that takes its descriptor away, whether it fails or not.
template <class Real>
int call_closing(int fd, Real real) {
  const auto flags = ::fcntl(fd, F_GETFL);
  const bool writes = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
  const auto what = writes ? fate("close", path_of(fd)) : Fate::Passes;
  if (what == Fate::Fails) {
    real();
  }
  return call(what, EOF, real);
}

int open_at(int folder, const char* path, int flags, mode_t mode) {
  const auto real = [&] { return static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode)); };
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) != 0;
  return call(writes ? fate("open", path_at(folder, path)) : Fate::Passes, -1, real);
}

int change(const char* name, const char* path, long number, long argument = 0) {
  return call(
      fate(name, path_at(AT_FDCWD, path)), -1, [&] { return static_cast<int>(::syscall(number, path, argument)); });
}

template <class Function>
Function* next(const char* name, Function*) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
#define NEXT(name) next(#name, &::name)

FILE* open_stream(const char* path, const char* mode) {
  static auto* const real = NEXT(fopen64);
  const bool writes = std::strpbrk(mode, "wa+") != nullptr;
  return call<FILE*>(
      writes ? fate("open", path_at(AT_FDCWD, path)) : Fate::Passes, nullptr, [&] { return real(path, mode); });
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
}

} // namespace

extern "C" {

#define OPEN(name)                               \
  int name(const char* path, int flags, ...) {   \
    va_list arguments;                           \
    va_start(arguments, flags);                  \
    const auto mode = mode_of(flags, arguments); \
    va_end(arguments);                           \
    return open_at(AT_FDCWD, path, flags, mode); \
  }
#define OPENAT(name)                                       \
  int name(int folder, const char* path, int flags, ...) { \
    va_list arguments;                                     \
    va_start(arguments, flags);                            \
    const auto mode = mode_of(flags, arguments);           \
    va_end(arguments);                                     \
    return open_at(folder, path, flags, mode);             \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

FILE* fopen(const char* path, const char* mode) {
  return open_stream(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  return open_stream(path, mode);
}

ssize_t write(int fd, const void* from, size_t bytes) {
  return call_writing("write", fd, bytes, [&](size_t n) { return ::syscall(SYS_write, fd, from, n); });
}

ssize_t writev(int fd, const iovec* parts, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; ++i) {
    bytes += parts[i].iov_len;
  }
  return call_writing("write", fd, bytes, [&](size_t n) -> ssize_t {
    if (n == bytes) {
      return ::syscall(SYS_writev, fd, parts, count);
    }
    std::string together;
    for (int i = 0; i < count; ++i) {
      together.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    }
    return ::syscall(SYS_write, fd, together.data(), n);
  });
}

int fclose(FILE* stream) {
  static auto* const real = NEXT(fclose);
  return call_closing(::fileno(stream), [&] { return real(stream); });
}

int close(int fd) {
  return call_closing(fd, [&] { return static_cast<int>(::syscall(SYS_close, fd)); });
}

int fsync(int fd) {
  return call(fate("fsync", path_of(fd)), -1, [&] { return static_cast<int>(::syscall(SYS_fsync, fd)); });
}
int fdatasync(int fd) {
  return call(fate("fsync", path_of(fd)), -1, [&] { return static_cast<int>(::syscall(SYS_fdatasync, fd)); });
}

int ftruncate(int fd, off_t size) noexcept {
  return call(fate("truncate", path_of(fd)), -1, [&] { return static_cast<int>(::syscall(SYS_ftruncate, fd, size)); });
}
int ftruncate64(int fd, off64_t size) noexcept {
  return ftruncate(fd, size);
}

int truncate(const char* path, off_t size) noexcept {
  return change("truncate", path, SYS_truncate, size);
}
int truncate64(const char* path, off64_t size) noexcept {
  return truncate(path, size);
}

int mkdir(const char* path, mode_t mode) noexcept {
  return change("mkdir", path, SYS_mkdir, mode);
}
int unlink(const char* path) noexcept {
  return change("remove", path, SYS_unlink);
}
int rmdir(const char* path) noexcept {
  return change("remove", path, SYS_rmdir);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  return call(fate("remove", path_at(folder, path)), -1, [&] {
    return static_cast<int>(::syscall(SYS_unlinkat, folder, path, flags));
  });
}

int remove(const char* path) noexcept {
  static auto* const real = NEXT(remove);
  return call(fate("remove", path_at(AT_FDCWD, path)), -1, [&] { return real(path); });
}

int rename(const char* from, const char* to) noexcept {
  return call(
      fate("rename", path_at(AT_FDCWD, to)), -1, [&] { return static_cast<int>(::syscall(SYS_rename, from, to)); });
}

} // extern "C"
