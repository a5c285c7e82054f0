#include "chapard/exit_code.h"

#include "base/error.h"

#include <sysexits.h>

int exit_code_of(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case ERR_CORRUPT:
		return 1;
	case ERR_INVALID:
	case ERR_ILLEGAL:
	case ERR_TOO_LARGE:
	case ERR_VERSION:
		return EX_DATAERR;
	case ERR_NOT_FOUND:
		return EX_NOUSER;
	case ERR_EXISTS:
		return EX_CANTCREAT;
	case ERR_REFUSED:
	case ERR_REPLICA:
	case ERR_OVERQUOTA:
		return EX_NOPERM;
	case ERR_IO:
		return EX_IOERR;
	case ERR_UNAVAILABLE:
		return EX_UNAVAILABLE;
	case ERR_FULL:
	case ERR_TIMEOUT:
	case ERR_CLOSED:
	case ERR_CHANGED:
		return EX_TEMPFAIL;
	}
	return EX_SOFTWARE;
}
